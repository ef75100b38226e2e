//! Sequence numbers: 32 bits that wrap (RFC 9293 §3.4).

/// A point in a sequence space. Not `Ord`: order on a circle is a question about two points and their distance.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Seq(pub(super) u32);

impl Seq {
    /// The point `n` octets later.
    #[inline]
    pub(super) const fn plus(self, n: u32) -> Self {
        Self(self.0.wrapping_add(n))
    }

    /// The point `n` octets earlier.
    #[inline]
    pub(super) const fn minus(self, n: u32) -> Self {
        Self(self.0.wrapping_sub(n))
    }

    /// Signed distance from `earlier` to this point; negative if it is in fact later.
    #[inline]
    pub(super) const fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }

    /// Whether this point is before `other`.
    #[inline]
    pub(super) const fn before(self, other: Self) -> bool {
        self.since(other) < 0
    }

    /// Whether this point is after `other`.
    #[inline]
    pub(super) const fn after(self, other: Self) -> bool {
        self.since(other) > 0
    }

    /// The later of two points.
    #[inline]
    pub(super) const fn max(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    /// The earlier of two points.
    #[inline]
    pub(super) const fn min(self, other: Self) -> Self {
        if other.before(self) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        let old = Seq(u32::MAX - 2);
        let new = old.plus(5);
        assert_eq!(new, Seq(2));
        assert!(old.before(new) && new.after(old) && !new.before(old));
        assert_eq!((new.since(old), old.since(new)), (5, -5));
        assert_eq!((old.max(new), new.max(old), new.minus(5)), (new, new, old));
        assert_eq!((old.min(new), new.min(old)), (old, old));
    }
}
