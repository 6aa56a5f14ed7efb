//! Numbers, as they come back from a store.

/// What is read back once a number was stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Integer(i64),
    Float(f64),
}

impl Number {
    /// None for what no `float64` holds: an API server refuses it.
    pub(super) fn read(text: &str) -> Option<Self> {
        if let Some(integer) = integer(text) {
            return Some(integer);
        }
        let float: f64 = text.parse().ok().filter(|float: &f64| float.is_finite())?;
        // Go writes it with the fewest digits that mean it, and without an exponent from 1e-6 to 1e21.
        // Those digits may be an integer when they are read again, and then not even the same one.
        let written = (float.abs() < 1e21).then(|| integer(&float.to_string())).flatten();
        Some(written.unwrap_or(Self::Float(float)))
    }
}

/// Go's `ParseInt` of a JSON number, which is not asked where there is a `.`; nor does it take an `e`.
fn integer(text: &str) -> Option<Number> {
    text.parse().ok().map(Number::Integer)
}
