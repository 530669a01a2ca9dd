//! Names → things, without regard to case, as SuperOffice treats paths.

/// A hash table of its own, because the standard one looks up only what is spelled as its keys are: a name in capitals would
/// have to be copied for each request. The hash is a cheap one without a secret: the names in the table are the operator's,
/// callers only look up, and whatever name they send costs no more steps than the longest run of taken places.
#[derive(Debug)]
pub struct Names<T> {
    /// A power of two, at most half of them taken. A name stands in the place of its hash, or in one of the next.
    places: Box<[Place<T>]>,
    /// The length of the longest name: a longer one is not even hashed.
    longest: usize,
}

/// Free, or a thing with its name.
type Place<T> = Option<(Box<str>, T)>;

impl<T> Names<T> {
    /// Of two things of one name the last counts.
    pub fn new(things: impl IntoIterator<Item = (String, T)>) -> Names<T> {
        let things: Vec<(String, T)> = things.into_iter().collect();
        let longest = things.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let places = std::iter::repeat_with(|| None).take((2 * things.len()).next_power_of_two().max(2)).collect();
        let mut names = Names { places, longest };
        for (name, thing) in things {
            let place = names.probe(&name);
            names.places[place] = Some((name.into(), thing));
        }
        names
    }

    /// Where the name stands.
    pub fn place_of(&self, name: &str) -> Option<usize> {
        if name.len() > self.longest {
            return None;
        }
        let place = self.probe(name);
        self.places[place].is_some().then_some(place)
    }

    /// What stands there, with its name.
    pub fn at(&self, place: usize) -> Option<&(Box<str>, T)> {
        self.places.get(place)?.as_ref()
    }

    /// What has this name.
    pub fn get(&self, name: &str) -> Option<&T> {
        Some(&self.at(self.place_of(name)?)?.1)
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &(Box<str>, T)> {
        self.places.iter().flatten()
    }

    /// Where the name stands, or the free place where it would.
    fn probe(&self, name: &str) -> usize {
        let last = self.places.len() - 1;
        let mut place = hash(name) & last;
        let other = |taken: &str| taken != name && !taken.eq_ignore_ascii_case(name);
        while self.places[place].as_ref().is_some_and(|(taken, _)| other(taken)) {
            place = (place + 1) & last;
        }
        place
    }
}

/// Eight bytes in one step, a multiplication each, its two halves folded into one.
fn hash(name: &str) -> usize {
    // Makes capitals small. It makes some other characters the same, too, which only costs a hash a little of its spread.
    const SMALL: u64 = 0x2020_2020_2020_2020;
    let step = |hash: u64, word: &[u8; 8]| {
        let product = u128::from(hash ^ (u64::from_le_bytes(*word) | SMALL)) * 0x9e37_79b9_7f4a_7c15;
        (product >> 64) as u64 ^ product as u64
    };
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(words.iter().fold(name.len() as u64, step), &last) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest run of taken places is what a look-up can cost; a poor hash would make it thousands long.
    #[test]
    fn each_of_many_names_is_found_in_a_few_steps() {
        for names in [|n: u32| format!("Cust{n}"), |n| format!("Cust{n:05}"), |n| format!("{n}"), |n| format!("tenant-{n}_prod")] {
            let table = Names::new((0..10_000).map(|n| (names(n), n)));
            assert_eq!(table.all().count(), 10_000);
            for n in 0..10_000 {
                assert_eq!(table.get(&names(n).to_ascii_uppercase()), Some(&n));
                assert_eq!(table.get(&format!("{}x", names(n))), None);
            }
            let longest = table.places.split(Option::is_none).map(<[_]>::len).max().unwrap();
            assert!(longest < 50, "{longest} places in a row for {}", names(1));
        }
    }

    proptest::proptest! {
        #[test]
        fn it_is_a_map_without_regard_to_case(names in proptest::collection::vec("[A-Da-d0-1_-]{1,3}", 0..40), asked in "[A-Da-d0-1_-]{0,4}") {
            let table = Names::new(names.iter().cloned().enumerate().map(|(n, name)| (name, n)));
            let expected = names.iter().rposition(|name| name.eq_ignore_ascii_case(&asked));
            proptest::prop_assert_eq!(table.get(&asked), expected.as_ref());
        }
    }
}
