//! What became of one question.

/// One setting as it was found.
#[derive(Clone, Debug)]
pub enum Field<T> {
    /// Not set.
    Absent,
    /// Set, and wrong; the problem is recorded.
    Wrong,
    /// Set.
    Is(T),
}

impl<T> Field<T> {
    /// This one when it is set (rightly or wrongly), else the shared one.
    pub fn or(self, shared: &Field<T>) -> Field<T>
    where
        T: Clone,
    {
        if matches!(self, Field::Absent) { shared.clone() } else { self }
    }

    /// The value, or that there is none. The outer `None` had a problem.
    pub fn optional(&self) -> Option<Option<T>>
    where
        T: Clone,
    {
        match self {
            Field::Absent => Some(None),
            Field::Wrong => None,
            Field::Is(value) => Some(Some(value.clone())),
        }
    }

    /// The value, if it is set and right.
    pub fn found(self) -> Option<T> {
        match self {
            Field::Is(value) => Some(value),
            Field::Absent | Field::Wrong => None,
        }
    }
}
