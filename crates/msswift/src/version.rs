use std::fmt;
use std::str::FromStr;

/// A version of ms-swift: `4.6.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// `4` of `4.6.0`.
    pub major: u32,
    /// `6` of `4.6.0`.
    pub minor: u32,
    /// `0` of `4.6.0`.
    pub patch: u32,
}

impl Version {
    /// Whether `other` differs in the last number at most: such versions take the same arguments.
    #[must_use]
    pub fn is_of_the_series(self, other: Self) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    /// Reads what Python's package metadata tells. Anything after three numbers, such as `.dev0` or `rc1`, is a
    /// version that was never released, and is refused.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidVersion(text.chars().take(40).collect());
        let mut numbers = text.split('.').map(|part| part.parse::<u32>().map_err(|_| invalid()));
        let mut next = || numbers.next().ok_or_else(invalid)?;
        let version = Self { major: next()?, minor: next()?, patch: next()? };
        if numbers.next().is_some() { Err(invalid()) } else { Ok(version) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Not a released version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no released version of ms-swift (such as 4.6.0)")]
pub struct InvalidVersion(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_versions_are_read_and_others_refused() {
        let version: Version = "4.6.0".parse().unwrap();
        assert_eq!(version, Version { major: 4, minor: 6, patch: 0 });
        assert_eq!(version.to_string(), "4.6.0");
        assert!(version.is_of_the_series("4.6.9".parse().unwrap()));
        assert!(!version.is_of_the_series("4.5.0".parse().unwrap()));
        for odd in ["", "4", "4.6", "4.6.0.dev0", "4.6.0rc1", "v4.6.0", "4.6.0\n", "4.6.99999999999"] {
            assert!(odd.parse::<Version>().is_err(), "{odd:?}");
        }
    }
}
