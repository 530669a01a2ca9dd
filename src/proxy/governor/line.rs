//! The line in which calls wait: one per caller, served in turn, and in each the oldest first. Nothing takes longer than the
//! logarithm of how many wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Whose calls are served in turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A client that has a name.
    Name(Arc<str>),
    /// Everybody at an address.
    Peer(IpAddr),
}

/// A place in the line: when its call arrived, and a number of its own.
pub(super) type Place = (Duration, u64);

/// All who wait.
#[derive(Debug)]
pub(super) struct Line<T> {
    all: BTreeMap<Place, (Caller, T)>,
    callers: HashMap<Caller, Own>,
    /// Whose turn it is, by the number of the turn.
    turns: BTreeMap<u64, Caller>,
    numbers: u64,
}

/// A caller's own line.
#[derive(Debug)]
struct Own {
    turn: u64,
    places: BTreeSet<Place>,
}

/// More callers than this are not looked at one by one.
const LOOKED_AT: usize = 64;

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line { all: BTreeMap::new(), callers: HashMap::new(), turns: BTreeMap::new(), numbers: 0 }
    }
}

impl<T> Line<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// One more. A call that arrived before others of its caller goes before them.
    pub(super) fn join(&mut self, caller: Caller, arrived: Duration, what: T) -> Place {
        self.numbers += 1;
        let place = (arrived, self.numbers);
        match self.callers.get_mut(&caller) {
            Some(own) => _ = own.places.insert(place),
            None => {
                self.turns.insert(self.numbers, caller.clone());
                self.callers.insert(caller.clone(), Own { turn: self.numbers, places: BTreeSet::from([place]) });
            }
        }
        self.all.insert(place, (caller, what));
        place
    }

    /// Whoever stood there goes away.
    pub(super) fn leave(&mut self, place: Place) -> Option<T> {
        let (caller, what) = self.all.remove(&place)?;
        if let Some(own) = self.callers.get_mut(&caller) {
            own.places.remove(&place);
            if own.places.is_empty() {
                self.turns.remove(&own.turn);
                self.callers.remove(&caller);
            }
        }
        Some(what)
    }

    /// Whose turn it is.
    pub(super) fn next(&mut self) -> Option<T> {
        let (_, caller) = self.turns.pop_first()?;
        let own = self.callers.get_mut(&caller)?;
        let place = own.places.pop_first()?;
        if own.places.is_empty() {
            self.callers.remove(&caller);
        } else {
            self.numbers += 1;
            own.turn = self.numbers;
            self.turns.insert(own.turn, caller);
        }
        self.all.remove(&place).map(|(_, what)| what)
    }

    /// Whoever has waited the longest.
    pub(super) fn oldest(&self) -> Option<Place> {
        self.all.first_key_value().map(|(place, _)| *place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.all.values().map(|(_, what)| what)
    }

    /// How many would go before one more call of this caller, at least.
    pub(super) fn ahead(&self, caller: &Caller) -> usize {
        let own = self.callers.get(caller).map_or(0, |own| own.places.len());
        let others = self.callers.len() - usize::from(own > 0);
        // Each of the others has as many turns before it, or as many as it has calls: one at least.
        let more = self.callers.iter().take(LOOKED_AT).filter(|(name, _)| *name != caller);
        own + others + more.map(|(_, other)| other.places.len().min(own + 1) - 1).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Caller {
        Caller::Name(name.into())
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn callers_take_turns_and_each_is_served_in_order() {
        let mut line = Line::default();
        for number in 0..4 {
            line.join(caller("greedy"), at(number), format!("g{number}"));
        }
        line.join(caller("b"), at(5), "b0".to_owned());
        line.join(caller("c"), at(6), "c0".to_owned());
        line.join(caller("b"), at(7), "b1".to_owned());
        assert_eq!((line.ahead(&caller("new")), line.ahead(&caller("b")), line.ahead(&caller("greedy"))), (3, 6, 7));
        let served: Vec<String> = std::iter::from_fn(|| line.next()).collect();
        assert_eq!(served, ["g0", "b0", "c0", "g1", "b1", "g2", "g3"]);
        assert!(line.is_empty() && line.turns.is_empty() && line.callers.is_empty());
    }

    #[test]
    fn a_call_that_comes_back_has_its_old_place_among_its_callers() {
        let mut line = Line::default();
        line.join(caller("a"), at(10), 1);
        line.join(caller("a"), at(5), 0);
        assert_eq!(line.oldest().map(|place| place.0), Some(at(5)));
        assert_eq!((line.next(), line.next(), line.next()), (Some(0), Some(1), None));
    }

    proptest::proptest! {
        /// Against the naive way: a list of lists.
        #[test]
        fn nobody_is_lost_and_nobody_served_twice(
            steps in proptest::collection::vec((0u8..4, 0usize..5, 0u64..1000), 1..300),
        ) {
            let mut line = Line::default();
            let mut naive: Vec<(Caller, Vec<(Place, u64)>)> = Vec::new();
            for (number, (step, who, arrived)) in (0u64..).zip(steps) {
                match step {
                    0 | 1 => {
                        let caller = caller(&who.to_string());
                        let place = line.join(caller.clone(), at(arrived), number);
                        let index = naive.iter().position(|(name, _)| *name == caller).unwrap_or_else(|| {
                            naive.push((caller, Vec::new()));
                            naive.len() - 1
                        });
                        naive[index].1.push((place, number));
                        naive[index].1.sort_unstable();
                    }
                    2 => {
                        let expected = (!naive.is_empty()).then(|| {
                            let (caller, mut calls) = naive.remove(0);
                            let (_, number) = calls.remove(0);
                            if !calls.is_empty() {
                                naive.push((caller, calls));
                            }
                            number
                        });
                        proptest::prop_assert_eq!(line.next(), expected);
                    }
                    _ => {
                        let all: Vec<Place> = naive.iter().flat_map(|(_, calls)| calls.iter().map(|call| call.0)).collect();
                        if let Some(place) = all.get(who % all.len().max(1)) {
                            proptest::prop_assert!(line.leave(*place).is_some());
                            proptest::prop_assert!(line.leave(*place).is_none());
                            naive.iter_mut().for_each(|(_, calls)| calls.retain(|call| call.0 != *place));
                            naive.retain(|(_, calls)| !calls.is_empty());
                        }
                    }
                }
                proptest::prop_assert_eq!(line.len(), naive.iter().map(|(_, calls)| calls.len()).sum::<usize>());
                proptest::prop_assert_eq!((line.turns.len(), line.callers.len()), (naive.len(), naive.len()));
                let oldest = naive.iter().flat_map(|(_, calls)| calls.iter().map(|call| call.0)).min();
                proptest::prop_assert_eq!(line.oldest(), oldest);
                // What is foreseen is never too much.
                let next = caller("0");
                let own = naive.iter().find(|(name, _)| *name == next).map_or(0, |(_, calls)| calls.len());
                let before = own + naive.iter().filter(|(name, _)| *name != next).map(|(_, calls)| calls.len().min(own + 1)).sum::<usize>();
                proptest::prop_assert_eq!(line.ahead(&next), before);
            }
        }
    }
}
