#!/usr/bin/env bash
# Prometheus judges what is meant for it: both formats of the page of a busy proxy, the alerts and their tests, and every expression of
# the dashboard. Needs promtool (Debian: prometheus), curl and Python 3; judges target/release/soproxy. Loopback only; stops what it
# starts.
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=$(realpath "${SOPROXY:-target/release/soproxy}")
for tool in promtool curl python3; do
  command -v "$tool" >/dev/null || { echo "$tool is needed (Debian: prometheus curl python3)" >&2; exit 1; }
done

echo "-- scrape configuration, alerts and their tests"
promtool check config deploy/prometheus/scrape.yml
promtool test rules deploy/prometheus/alerts.test.yml
python3 tests/prometheus/untested.py deploy/prometheus/alerts.yml deploy/prometheus/alerts.test.yml

work=$(mktemp -d)
pids=()
stop() {
  [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap stop EXIT

echo "-- dashboard"
python3 tests/prometheus/expressions.py deploy/grafana/soproxy.json >"$work/dashboard.yml"
promtool check rules "$work/dashboard.yml"

# Waits until a log names an address, and prints it.
address() {
  local found
  for _ in $(seq 100); do
    found=$(grep -oE "$1" "$2" | grep -oE '127\.0\.0\.1:[0-9]+' | sed -n "${3:-1}p")
    [ -z "$found" ] || { echo "$found"; return; }
    sleep 0.1
  done
  cat "$2" >&2
  exit 1
}

echo "-- the page of a busy proxy"
"$binary" sandbox --only --address 127.0.0.1:0 --fault 'login_of.Cust54321.refuse.code=Revoked' >"$work/sandbox.log" 2>&1 &
pids+=($!)
sandbox=$(address '127\.0\.0\.1:[0-9]+' "$work/sandbox.log")
"$binary" sandbox --write-config "$work/config" --address "$sandbox" >/dev/null
printf '\n[[cache]]\npaths = ["/api/v1/MDOList/*"]\nttl = "10m"\n' >>"$work/config/proxy.toml"
export SOPROXY_LISTEN__ADDRESS=127.0.0.1:0 SOPROXY_ADMIN__ADDRESS=127.0.0.1:0
"$binary" run --config "$work/config/proxy.toml" >"$work/proxy.log" 2>&1 &
proxy=$!
pids+=("$proxy")
listen=$(address 'serves.*' "$work/proxy.log")
admin=$(address 'serves.*' "$work/proxy.log" 2)
ask() { curl -sS "$@" >/dev/null; }
ask "http://$listen/Cust12345/api/v1/Contact/[1-50]" "http://$listen/Cust12345/api/v1/MDOList/category"{,,}
ask "http://$listen/Cust54321/api/v1/Contact/1" "http://$listen/Nobody/api/v1/Contact/1"
ask -X BREW "http://$listen/Cust12345/api/v1/x"
ask -X POST -d '{"a":1}' "http://$listen/Cust12345/api/v1/_sandbox/echo"
ns=http://www.superoffice.net/ws/crm/NetServer/Services88
ask -H "SOAPAction: \"$ns/Contact/GetContact\"" -H 'Content-Type: text/xml; charset=utf-8' \
  -d "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:n=\"$ns\"><s:Body><n:GetContact><n:ContactId>3</n:ContactId></n:GetContact></s:Body></s:Envelope>" \
  "http://$listen/Cust12345/Remote/Services88/Contact.svc"
echo 'nonsense = [' >>"$work/config/proxy.toml"
kill -HUP "$proxy"
for _ in $(seq 50); do
  curl -fsS "http://$admin/metrics" >"$work/page"
  ! grep -q '^soproxy_reloads_total{result="failed"} 1$' "$work/page" || break
  sleep 0.1
done
promtool check metrics <"$work/page"
for sample in 'soproxy_requests_total{tenant="Cust12345",method="GET",status="2xx"}' 'soproxy_errors_total{tenant="Cust54321",code="ticket_unavailable"}' \
  'soproxy_exchanges_total{tenant="Cust54321",result="failed",code="refused_revoked"}' 'soproxy_cache_requests_total{result="hit"}' \
  'soproxy_reloads_total{result="failed"}' process_open_fds process_max_fds; do
  grep -F "$sample " "$work/page" | grep -qv ' 0$' || { echo "the page lacks $sample, or has 0" >&2; exit 1; }
done
echo "check metrics: $(grep -c '^# TYPE' "$work/page") families, $(grep -vc '^#' "$work/page") samples"

# promtool reads OpenMetrics only to import it; then each sample needs a time.
curl -fsS -D "$work/head" -H 'Accept: application/openmetrics-text; version=1.0.0' "http://$admin/metrics" >"$work/open"
grep -qi '^content-type: application/openmetrics-text; version=1.0.0' "$work/head"
sed "/^#/!s/\$/ $(date +%s)/" "$work/open" >"$work/timed"
promtool tsdb create-blocks-from openmetrics "$work/timed" "$work/blocks" >"$work/imported"
[ "$(ls "$work/blocks")" ]
echo "openmetrics: $(grep -vc '^#' "$work/open") samples imported"
