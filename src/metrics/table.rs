//! The one table of all metrics. README's is held against it, and so is what dashboards and alerts name.

/// What a metric's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows, while the process lives.
    Counter,
    /// What is now.
    Gauge,
    /// How many were at most so large, by bounds.
    Histogram,
    /// Always 1; what it tells is in its labels.
    Info,
}

/// One metric: its samples differ by their labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// As queries name it: a counter's ends with `_total`.
    pub name: &'static str,
    /// What its numbers are.
    pub kind: Kind,
    /// What its samples differ by.
    pub labels: &'static [&'static str],
    /// For people.
    pub help: &'static str,
}

impl Family {
    /// The name without what its kind adds to it.
    pub(super) fn stem(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => return self.name,
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }

    /// What it is measured in, if that is a unit.
    pub(super) fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"].into_iter().find(|unit| self.stem().strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
    }
}

macro_rules! families {
    ($($id:ident $kind:ident $name:literal [$($label:literal)*] $help:literal)*) => {
        $(
            #[doc = $help]
            pub const $id: Family = Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )*
        /// All of them.
        pub const ALL: &[Family] = &[$($id),*];
    };
}

families! {
    REQUESTS Counter "soproxy_requests_total" ["tenant" "method" "status"]
        "requests by the class of the answer's status; none: the caller went away before"
    ERRORS Counter "soproxy_errors_total" ["tenant" "code"] "answers of the proxy's own, by code"
    REQUEST_BYTES Counter "soproxy_request_bytes_total" ["tenant"] "bytes of requests' bodies, and into tunnels"
    RESPONSE_BYTES Counter "soproxy_response_bytes_total" ["tenant"] "bytes of answers' bodies, and out of tunnels"
    REQUEST_DURATION Histogram "soproxy_request_duration_seconds" ["tenant"] "from a request's arrival to its answer's last byte"
    IN_FLIGHT Gauge "soproxy_requests_in_flight" [] "requests that are being answered"
    DOWNSTREAM Gauge "soproxy_downstream_connections" [] "callers' connections"
    TUNNELS Gauge "soproxy_tunnels" [] "connections that became tunnels (WebSocket)"
    PHASES Histogram "soproxy_phase_duration_seconds" ["phase"]
        "where the time of requests that went upstream was spent: queue, ticket, connect, first_byte, total"
    SENT_TWICE Counter "soproxy_sent_twice_total" ["cause"] "requests sent to upstream a second time, by cause"
    CONNECTIONS Gauge "soproxy_upstream_connections" ["upstream" "state"] "connections to upstream, idle or busy"
    OPENED Counter "soproxy_upstream_connections_opened_total" ["upstream" "protocol"] "connections to upstream that were opened"
    CLOSED Counter "soproxy_upstream_connections_closed_total" ["upstream"] "connections to upstream that were closed, by either side"
    CONNECT_FAILURES Counter "soproxy_upstream_connect_failures_total" ["upstream"] "connections to upstream that could not be opened"
    REFUSALS Counter "soproxy_upstream_refusals_total" ["tenant"] "answers of 429, or 503 with Retry-After, from SuperOffice"
    PACE Gauge "soproxy_tenant_calls_per_second_limit" ["tenant"] "calls per second that may go now; none while nothing bounds them"
    PAUSED Gauge "soproxy_tenant_paused_seconds" ["tenant"] "how long no call goes because SuperOffice refused one"
    WAITING Gauge "soproxy_tenant_waiting_requests" ["tenant"] "requests that wait for their turn"
    EXCHANGES Counter "soproxy_exchanges_total" ["tenant" "result" "code"] "exchanges for a ticket, by success or failed and why"
    EXCHANGE_DURATION Histogram "soproxy_exchange_duration_seconds" [] "how long exchanges took"
    EXPIRES Gauge "soproxy_ticket_expires_in_seconds" ["tenant"] "until the ticket runs out, if it is used no more; none without a ticket"
    GENERATION Gauge "soproxy_ticket_generation" ["tenant"] "the number of the ticket in use"
    LAST_SUCCESS Gauge "soproxy_ticket_last_success_timestamp_seconds" ["tenant"] "when the ticket in use was got"
    AVOIDED Counter "soproxy_renewals_avoided_total" ["tenant"] "renewals that were not needed because uses had the ticket's window slide"
    READY Gauge "soproxy_ready" [] "1 while /readyz answers 200"
    TENANTS Gauge "soproxy_tenants" ["standing"] "tenants by how they stand, as /readyz tells it"
    TENANT_READY Gauge "soproxy_tenant_ready" ["tenant"] "1 while a request of this tenant would be served"
    TENANT_STANDING Gauge "soproxy_tenant_standing" ["tenant" "standing"] "1 at how the tenant stands, as /readyz tells it"
    TENANT_STATE Gauge "soproxy_tenant_state" ["tenant" "state"] "1 at the state that SuperOffice told last"
    STATE_FETCHES Counter "soproxy_state_fetches_total" ["result"] "fetches of a tenant's state: ok, or why not"
    STATE_PUSHES Counter "soproxy_state_pushes_total" ["result"] "notifications that a tenant's state has changed, by result"
    SKEW Gauge "soproxy_clock_skew_seconds" ["login"] "how far the login service's clock is ahead of this machine's"
    CACHE_REQUESTS Counter "soproxy_cache_requests_total" ["result"] "requests that the list cache was asked for: hit, miss or pass"
    CACHE_ENTRIES Gauge "soproxy_cache_entries" [] "answers in the list cache"
    CACHE_BYTES Gauge "soproxy_cache_bytes" [] "what they take, about"
    EVICTIONS Counter "soproxy_cache_evictions_total" [] "answers that had to make room for others"
    STORE_WRITES Counter "soproxy_store_writes_total" ["result"] "tenants' records written to the store: ok or failed"
    CERTIFICATE Gauge "soproxy_certificate_expires_timestamp_seconds" ["file"] "when a listener's certificate runs out"
    RELOADS Counter "soproxy_reloads_total" ["result"] "reloads of the configuration: applied or failed"
    RELOAD_OK Gauge "soproxy_reload_last_successful" [] "0 when the last reload failed: the configuration before it is in use"
    RELOADED Gauge "soproxy_reload_last_success_timestamp_seconds" [] "when the configuration in use was applied"
    RECORDS_DROPPED Counter "soproxy_access_records_dropped_total" [] "access records lost because the log was not taken fast enough"
    BUILD Info "soproxy_build_info" ["version" "os" "arch"] "1; what runs"
    STARTED Gauge "soproxy_start_time_seconds" [] "when the proxy was started"
    PROCESS_CPU Counter "process_cpu_seconds_total" [] "processor time that the process used"
    PROCESS_RESIDENT Gauge "process_resident_memory_bytes" [] "memory that the process has"
    PROCESS_VIRTUAL Gauge "process_virtual_memory_bytes" [] "addresses that the process has"
    PROCESS_FDS Gauge "process_open_fds" [] "file descriptors that the process has"
    PROCESS_MAX_FDS Gauge "process_max_fds" [] "file descriptors that the process may have"
    PROCESS_THREADS Gauge "process_threads" [] "threads of the process"
    PROCESS_STARTED Gauge "process_start_time_seconds" [] "when the process was started"
}
