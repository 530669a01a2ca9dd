//! What is known of a tenant, and how long it is believed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::{Memo, TenantState};
use crate::clock::{Clock, Moment};
use crate::superoffice::Outage;
use crate::superoffice::origin::{AllowedBase, UpstreamHosts};

/// After failures the endpoint is asked at least this often while somebody wants to know.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often the state is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// At most so often, whatever happens.
    pub min: Duration,
    /// At least so often, for a tenant in use.
    pub max: Duration,
}

impl Pace {
    /// How long a state is believed that says that it is valid for so long. One that does not say: as long as allowed.
    pub(super) fn kept(&self, valid: Option<Duration>) -> Duration {
        valid.unwrap_or(self.max).min(self.max).max(self.min)
    }

    /// How long what was told at `told` is believed, and its outage with how long that is.
    pub(super) fn belief(&self, state: &TenantState, told: Timestamp) -> (Duration, Option<(Outage, Duration)>) {
        let valid = state.valid_until.map(|until| Duration::try_from(until.duration_since(told)).unwrap_or(Duration::ZERO));
        let outage = state.outage();
        // An outage that does not say how long it may be believed: until those who met it ask again.
        let valid = valid.or(outage.as_ref().map(|outage| outage.retry_after).filter(|after| !after.is_zero()));
        let kept = self.kept(valid);
        (kept, outage.map(|outage| (outage, valid.unwrap_or(kept).max(self.min))))
    }

    /// When it is fetched anew for a tenant in use: a little before it is out of date.
    pub(super) fn due(&self, kept: Duration) -> Duration {
        kept.saturating_sub((kept / 10).min(Duration::from_secs(30))).max(self.min)
    }

    /// How long after the `failures`th failure in a row (from 1).
    pub(super) fn pause(&self, failures: u32) -> Duration {
        self.min.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE.max(self.min))
    }
}

/// What is known of a tenant: replaced as a whole by each fetch.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Where requests go.
    pub base: Option<AllowedBase>,
    /// The tenant's endpoint, below which is what is beside the web API: as the state tells it, else the base without `/api`,
    /// else what the token told.
    pub endpoint: Option<AllowedBase>,
    /// Where they went before, the latest first.
    pub previous: Vec<AllowedBase>,
    /// What the endpoint said last.
    pub state: Option<Arc<TenantState>>,
    /// Why the tenant is not followed to where it moved.
    pub refused: Option<String>,
    /// Why it is not known where requests go.
    pub unknown: Option<String>,
    /// While it does not run: why, and for how long that is believed.
    pub(super) outage: Option<(Outage, Duration)>,
    pub(super) fetched: Moment,
    pub(super) kept: Duration,
}

impl Standing {
    /// Nothing is.
    pub(super) fn nothing(fetched: Moment) -> Standing {
        Standing {
            base: None,
            endpoint: None,
            previous: Vec::new(),
            state: None,
            refused: None,
            unknown: None,
            outage: None,
            fetched,
            kept: Duration::ZERO,
        }
    }

    /// What an earlier process knew, as far as it may be used now. `None`: that is nothing.
    pub(super) fn remembered(memo: &Memo, hosts: &UpstreamHosts, pace: &Pace, clock: &Clock) -> Option<Standing> {
        let allow = |url: &String| hosts.allow(url.parse().ok()?).ok();
        let fetched = clock.earlier(memo.fetched)?;
        let state = memo.document.as_deref().and_then(|document| TenantState::parse(document).ok());
        let (kept, outage) = state.as_ref().map_or((Duration::ZERO, None), |state| pace.belief(state, memo.fetched));
        let standing = Standing {
            base: memo.base.as_ref().and_then(allow),
            endpoint: memo.endpoint.as_ref().and_then(allow),
            previous: memo.previous.iter().filter_map(allow).collect(),
            state: state.map(Arc::new),
            outage,
            kept,
            ..Standing::nothing(fetched)
        };
        (standing.base.is_some() || standing.outage.is_some()).then_some(standing)
    }

    /// The same for a later process.
    pub(super) fn memo(&self, now: Moment) -> Option<Memo> {
        if self.base.is_none() && self.outage.is_none() {
            return None;
        }
        Some(Memo {
            base: self.base.as_ref().map(ToString::to_string),
            endpoint: self.endpoint.as_ref().map(ToString::to_string),
            previous: self.previous.iter().map(ToString::to_string).collect(),
            document: self.state.as_ref().and_then(|state| serde_json::to_vec(&state.document).ok()),
            fetched: now.wall - now.since(self.fetched),
        })
    }

    /// Why requests are not passed on now.
    pub fn outage(&self, now: Moment) -> Option<&Outage> {
        self.outage.as_ref().filter(|(_, until)| now.since(self.fetched) < *until).map(|(outage, _)| outage)
    }

    /// How long ago the state was told, if it was.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        self.state.as_ref().map(|_| now.since(self.fetched))
    }

    pub(super) fn is_fresh(&self, now: Moment) -> bool {
        now.since(self.fetched) < self.kept
    }

    /// Whether a request can be decided by this.
    pub(super) fn tells_enough(&self, now: Moment) -> bool {
        self.base.is_some() && self.outage.is_none() || self.outage(now).is_some()
    }
}
