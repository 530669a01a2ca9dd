//! `traceparent`, as W3C Trace Context has it (levels 1 and 2): strictly, or not at all.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Names the trace and the caller's span.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What tracers say to each other besides; it means nothing without [`TRACEPARENT`].
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// Names a trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId(NonZeroU128);

/// Names a span.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId(NonZeroU64);

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    flags: u8,
}

impl SpanId {
    /// A new one.
    pub fn random() -> SpanId {
        SpanId(NonZeroU64::new(rand::random()).unwrap_or(NonZeroU64::MIN))
    }
}

impl Context {
    /// What a request's headers say. Of several, or of something else than is meant, nothing is believed.
    pub fn of(headers: &HeaderMap) -> Option<Context> {
        let first = headers.get(TRACEPARENT)?;
        if headers.get_all(TRACEPARENT).iter().nth(1).is_some() {
            return None;
        }
        Context::parse(first.as_bytes())
    }

    /// `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`. Of a later version what this one has is read.
    pub fn parse(text: &[u8]) -> Option<Context> {
        let (known, more) = text.split_at_checked(55)?;
        let version = hex(&known[..2])?;
        if version == 0xff || (version == 0 && !more.is_empty()) || !(more.is_empty() || more[0] == b'-') {
            return None;
        }
        let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        let (trace, span, flags) = (hex(&known[3..35])?, hex(&known[36..52])?, hex(&known[53..])?);
        let span = NonZeroU64::new(u64::try_from(span).ok()?)?;
        // Flags that this version does not know go no further.
        let flags = u8::try_from(flags).ok()? & (SAMPLED | RANDOM);
        dashes.then_some(Context { trace: TraceId(NonZeroU128::new(trace)?), span: SpanId(span), flags })
    }

    /// A new trace. `sample`: what share of them is sampled, told by the number itself, as others do who see it.
    pub fn root(sample: f64) -> Context {
        let number: u128 = rand::random();
        let share = (number & ((1 << 56) - 1)) as f64 / (1_u64 << 56) as f64;
        let trace = TraceId(NonZeroU128::new(number).unwrap_or(NonZeroU128::MIN));
        Context { trace, span: SpanId::random(), flags: RANDOM | if share < sample { SAMPLED } else { 0 } }
    }

    /// Another span of the same trace.
    pub fn with(self, span: SpanId) -> Context {
        Context { span, ..self }
    }

    /// Whether its spans are exported.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The lowest eight bits of OTLP's flags.
    pub fn flags(self) -> u8 {
        self.flags
    }

    /// As a header.
    pub fn header(self) -> HeaderValue {
        let text = format!("00-{}-{}-{:02x}", self.trace, self.span, self.flags);
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// Small letters only.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Some(number << 4 | u128::from(digit - b'a' + 10)),
        _ => None,
    })
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_good_one_is_read_and_written_as_it_was() {
        let context = Context::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((context.trace.to_string().as_str(), context.span.to_string().as_str()), (&GOOD[3..35], &GOOD[36..52]));
        assert!(context.is_sampled());
        assert_eq!(context.header(), GOOD);
        let small = "00-00000000000000000000000000000001-0000000000000002-00";
        assert_eq!(Context::parse(small.as_bytes()).unwrap().header(), small);
        assert!(!Context::parse(small.as_bytes()).unwrap().is_sampled());
    }

    #[test]
    fn of_later_versions_what_is_known_is_read() {
        for (text, expected) in [
            (GOOD.replace("00-0af", "cc-0af"), GOOD.to_owned()),
            (GOOD.replace("00-0af", "01-0af") + "-what-the-future-brings", GOOD.to_owned()),
            (GOOD.replace("-01", "-ff"), GOOD.replace("-01", "-03")),
            (GOOD.replace("-01", "-02"), GOOD.replace("-01", "-02")),
        ] {
            assert_eq!(
                Context::parse(text.as_bytes()).map(|context| context.header()),
                Some(HeaderValue::try_from(expected).unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_bad_one_is_none() {
        let zeros = |count| "0".repeat(count);
        for text in [
            String::new(),
            "00".to_owned(),
            GOOD.to_uppercase(),
            GOOD.replace("00-0af", "ff-0af"),
            GOOD.replace("00-0af", "0g-0af"),
            GOOD.replace(&GOOD[3..35], &zeros(32)),
            GOOD.replace(&GOOD[36..52], &zeros(16)),
            GOOD.replace("-01", "_01"),
            GOOD.replace("-01", "-1"),
            GOOD.replace("-01", "-0x"),
            GOOD.to_owned() + "-",
            GOOD.to_owned() + "-00",
            GOOD.replace("00-0af", "01-0af") + ".x",
            GOOD.to_owned() + " ",
            format!(" {GOOD}"),
        ] {
            assert_eq!(Context::parse(text.as_bytes()), None, "{text}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(Context::of(&headers), None);
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert!(Context::of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(Context::of(&headers), None, "there is one, or none");
    }

    #[test]
    fn a_share_of_new_traces_is_sampled() {
        let sampled = |share: f64| (0..4000).filter(|_| Context::root(share).is_sampled()).count();
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 4000));
        // Beyond nine standard deviations.
        assert!((700..1300).contains(&sampled(0.25)));
        assert_ne!(Context::root(1.0).trace, Context::root(1.0).trace);
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_so_that_it_is_read_again(text in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?") {
            if let Some(context) = Context::parse(text.as_bytes()) {
                proptest::prop_assert_eq!(Context::parse(context.header().as_bytes()), Some(context));
                proptest::prop_assert_eq!(format!("{}-{}", context.trace, context.span), &text[3..52]);
            }
        }
    }
}
