//! Plain words of YAML, by the rules of PyYAML, which reads YAML 1.1: `no` is false there, `010` is eight, and `1e-4` is
//! text, for want of a dot.
//!
//! The patterns are those of [`yaml/resolver.py`](https://github.com/yaml/pyyaml/blob/main/lib/yaml/resolver.py) and the
//! values those of `yaml/constructor.py`.

/// Meaning of a scalar that stands without quotes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Nothing,
    Truth(bool),
    /// A whole number of any size, in decimal digits.
    Whole(String),
    Number(f64),
    /// A day, `2026-12-01`, which Python writes as it stands.
    Date,
    Text,
}

/// Form of a config, which decides what its numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Read by PyYAML.
    #[default]
    Yaml,
    /// Read by Python's `json`: `1e-4` and `NaN` are numbers.
    Json,
}

impl Format {
    /// The form of a file, by its name: ms-swift reads what ends in `.json` as JSON.
    #[must_use]
    pub fn of(name: &str) -> Self {
        if name.ends_with(".json") { Self::Json } else { Self::Yaml }
    }
}

impl Scalar {
    /// Reads a plain word; the error says what cannot be read.
    pub(crate) fn read(text: &str, format: Format) -> Result<Self, String> {
        match format {
            Format::Yaml => Self::of_yaml(text),
            Format::Json => Self::of_json(text),
        }
    }

    fn of_yaml(text: &str) -> Result<Self, String> {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Ok(Self::Nothing),
            "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
                return Ok(Self::Truth(true));
            }
            "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
                return Ok(Self::Truth(false));
            }
            "<<" => return Err("`<<` merges mappings, which is not read here: write it out".to_owned()),
            "=" | "?" => return Err(format!("`{text}` has a meaning of its own in YAML: quote it")),
            _ => {}
        }
        // Whatever is more than text begins so.
        if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
            return Ok(Self::Text);
        }
        if let Some(number) = float(text) {
            return Ok(Self::Number(number));
        }
        if let Some(number) = whole(text) {
            return number.map(Self::Whole).map_err(|why| format!("`{}` {why}", crate::mistake::shown(text)));
        }
        date(text)
    }

    fn of_json(text: &str) -> Result<Self, String> {
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        Ok(match text {
            "null" => Self::Nothing,
            "true" => Self::Truth(true),
            "false" => Self::Truth(false),
            "NaN" => Self::Number(f64::NAN),
            "Infinity" => Self::Number(f64::INFINITY),
            "-Infinity" => Self::Number(f64::NEG_INFINITY),
            _ if is_digits(unsigned) && (unsigned == "0" || !unsigned.starts_with('0')) => {
                Self::Whole(if unsigned == "0" { "0" } else { text }.to_owned())
            }
            _ if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() || is_too_large(text) => {
                Self::Number(text.parse().map_err(|_| "no number".to_owned())?)
            }
            _ => return Err(format!("`{}` is not JSON: quote it", crate::mistake::shown(text))),
        })
    }

    /// Text that Python makes of it, as ms-swift puts it on a command line; `None` of text, which stays as it is.
    pub(crate) fn told_by_python(&self) -> Option<String> {
        match self {
            Self::Nothing => Some("None".to_owned()),
            Self::Truth(true) => Some("True".to_owned()),
            Self::Truth(false) => Some("False".to_owned()),
            Self::Whole(digits) => Some(digits.clone()),
            Self::Number(number) => Some(float_of_python(*number)),
            Self::Date | Self::Text => None,
        }
    }
}

/// A number of JSON that no float holds is infinite in Python.
fn is_too_large(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    text.bytes().all(is_plain)
        && text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit())
        && text.parse::<f64>().is_ok_and(f64::is_infinite)
}

/// `repr` of a float.
pub(crate) fn float_of_python(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "nan"
        } else if number > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').expect("`{:e}` writes an exponent");
    let exponent: i32 = exponent.parse().expect("it is a number");
    if (-4..16).contains(&exponent) {
        let plain = number.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A float; `None` of what is none.
fn float(text: &str) -> Option<f64> {
    let (sign, unsigned) = signed(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if unsigned == text => return Some(f64::NAN),
        _ => {}
    }
    if unsigned.contains(':') {
        let (whole, part) = unsigned.split_once('.')?;
        let is_part = part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
        let parts = is_part.then(|| sixties(whole, is_digits)).flatten()?;
        let last: f64 = format!("{}.{part}", parts.last()?).replace('_', "").parse().ok()?;
        let (mut base, mut sum) = (1.0, 0.0);
        for (at, digits) in parts.iter().rev().enumerate() {
            let digit = if at == 0 { last } else { digits.replace('_', "").parse().ok()? };
            sum += digit * base;
            base *= 60.0;
        }
        return Some(sign * sum);
    }
    let (whole, rest) = unsigned.split_once('.')?;
    let (part, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let is_part = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    // Unlike elsewhere, an exponent has a sign, and a number without a digit before its dot has none.
    let is_exponent = |exponent: &str| {
        exponent
            .strip_prefix(['-', '+'])
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_number = if whole.is_empty() {
        unsigned == text && is_digits(part)
    } else {
        is_digits(whole) && is_part(part)
    };
    if !is_number || !exponent.is_none_or(is_exponent) {
        return None;
    }
    Some(sign * unsigned.replace('_', "").parse::<f64>().ok()?)
}

/// A whole number in decimal digits; `None` of what is none, an error of what PyYAML, or we, cannot read although it looks so.
fn whole(text: &str) -> Option<Result<String, String>> {
    let (sign, unsigned) = signed(text);
    let of_base = |digits: &str, base: u32| {
        let digits = digits.replace('_', "");
        if digits.is_empty() {
            return Err("has no digits".to_owned());
        }
        u128::from_str_radix(&digits, base).map(|number| number.to_string()).map_err(|_| TOO_LARGE.to_owned())
    };
    let all = |text: &str, signs: &str| !text.is_empty() && text.chars().all(|c| signs.contains(c));
    let number = if let Some(digits) = unsigned.strip_prefix("0b").filter(|digits| all(digits, "01_")) {
        of_base(digits, 2)
    } else if let Some(digits) =
        unsigned.strip_prefix("0x").filter(|digits| all(digits, "0123456789abcdefABCDEF_"))
    {
        of_base(digits, 16)
    } else if unsigned == "0" {
        Ok("0".to_owned())
    } else if let Some(digits) = unsigned.strip_prefix('0').filter(|digits| all(digits, "01234567_")) {
        // `0_` is nought, and octal only what has digits.
        if digits.bytes().all(|byte| byte == b'_') { Ok("0".to_owned()) } else { of_base(digits, 8) }
    } else if unsigned.starts_with('0') {
        return None;
    } else if is_digits(unsigned) {
        Ok(unsigned.replace('_', ""))
    } else {
        let parts = sixties(unsigned, is_digits).filter(|parts| parts.len() > 1)?;
        let sum = parts.iter().try_fold(0_u128, |sum, digits| {
            sum.checked_mul(60)?.checked_add(digits.replace('_', "").parse().ok()?)
        });
        sum.map(|sum| sum.to_string()).ok_or_else(|| TOO_LARGE.to_owned())
    };
    let is_negative = sign < 0.0;
    Some(number.map(|number| if is_negative && number != "0" { format!("-{number}") } else { number }))
}

/// A day or a time of a day.
fn date(text: &str) -> Result<Scalar, String> {
    let told = || crate::mistake::shown(text);
    let Some((day, rest)) = day(text) else { return Ok(Scalar::Text) };
    let is_long = text.as_bytes().get(..10).is_some_and(|bytes| bytes[4] == b'-' && bytes[7] == b'-');
    match rest {
        "" if !is_long || text.len() != 10 => Ok(Scalar::Text),
        "" if is_day(day) => Ok(Scalar::Date),
        "" => Err(format!("`{}` looks like a date, and there is no such day: quote it", told())),
        rest if is_time(rest) => Err(format!("`{}` is a time to YAML: quote it", told())),
        _ => Ok(Scalar::Text),
    }
}

/// `2026-12-1`, and what follows it.
fn day(text: &str) -> Option<([u32; 3], &str)> {
    let (year, rest) = (text.get(..4)?, text.get(4..)?.strip_prefix('-')?);
    let (month, rest) = one_or_two(rest)?;
    let (day, rest) = one_or_two(rest.strip_prefix('-')?)?;
    let is_year = year.bytes().all(|byte| byte.is_ascii_digit());
    is_year.then_some(([year.parse().ok()?, month, day], rest))
}

fn is_day([year, month, day]: [u32; 3]) -> bool {
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    year > 0 && (1..=days).contains(&day)
}

/// What may follow a day: `T21:59:43.1 -5:30`.
fn is_time(text: &str) -> bool {
    let read = || {
        let clock = match text.strip_prefix(['T', 't']) {
            Some(rest) => rest,
            None => text.strip_prefix([' ', '\t'])?.trim_start_matches([' ', '\t']),
        };
        let (_, rest) = one_or_two(clock)?;
        let rest = two(two(rest.strip_prefix(':')?)?.strip_prefix(':')?)?;
        let rest = match rest.strip_prefix('.') {
            Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_digit()),
            None => rest,
        };
        let zone = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() || zone == "Z" {
            return Some(());
        }
        let (_, rest) = one_or_two(zone.strip_prefix(['-', '+'])?)?;
        match rest {
            "" => Some(()),
            rest => two(rest.strip_prefix(':')?)?.is_empty().then_some(()),
        }
    };
    read().is_some()
}

/// A number of one digit or two, as many as there are, and what follows.
fn one_or_two(text: &str) -> Option<(u32, &str)> {
    let count = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    Some((text[..count].parse().ok()?, &text[count..]))
}

fn two(text: &str) -> Option<&str> {
    let digits = text.get(..2)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| &text[2..])
}

fn signed(text: &str) -> (f64, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// A digit, and then digits and `_`.
fn is_digits(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// The parts of `1:30:00`: numbers of base 60.
fn sixties(text: &str, is_first: impl Fn(&str) -> bool) -> Option<Vec<&str>> {
    let mut parts = text.split(':');
    let first = parts.next().filter(|first| is_first(first))?;
    let is_sixtieth = |part: &&str| match part.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
        _ => false,
    };
    let rest: Vec<_> = parts.collect();
    rest.iter().all(is_sixtieth).then(|| [vec![first], rest].concat())
}

const TOO_LARGE: &str = "is a number too large to be read here: quote it if it is text";

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Result<Option<String>, String> {
        Scalar::read(text, Format::Yaml).map(|scalar| scalar.told_by_python())
    }

    #[test]
    fn numbers_are_those_of_python() {
        for (text, python) in [
            ("010", "8"),
            ("0x1F", "31"),
            ("-0b11", "-3"),
            ("1_0", "10"),
            ("+1", "1"),
            ("-0", "0"),
            ("0_", "0"),
            ("1:30", "90"),
            ("-1:00:01", "-3601"),
            (".1", "0.1"),
            ("1.", "1.0"),
            ("1_0.5_0", "10.5"),
            ("1.0e+3", "1000.0"),
            ("1.5e-7", "1.5e-07"),
            ("1.0e+16", "1e+16"),
            ("123456789012345.0", "123456789012345.0"),
            ("1:30.5", "90.5"),
            ("-.inf", "-inf"),
            (".NaN", "nan"),
            ("-0.0", "-0.0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("9999999999999999.0", "1e+16"),
            ("1000000000000000.0", "1000000000000000.0"),
        ] {
            assert_eq!(told(text), Ok(Some(python.to_owned())), "{text}");
        }
        for text in
            ["1e-4", "1.0e4", "+.5", "08", "0o17", "1:60", "-.nan", "1__", "._1", "12e03", "+", ".", "1.2.3"]
        {
            let expected = if text == "1__" { Ok(Some("1".to_owned())) } else { Ok(None) };
            assert_eq!(told(text), expected, "{text}");
        }
    }

    #[test]
    fn what_has_a_meaning_that_no_flag_takes_is_refused() {
        for text in [
            "<<",
            "=",
            "0x_",
            "2026-02-30",
            "2026-01-01 10:00:00",
            "2026-1-1T1:00:00Z",
            "0001-01-01t00:00:00.5 -5:30",
        ] {
            assert!(told(text).is_err(), "{text}");
        }
        assert_eq!(Scalar::read("2024-02-29", Format::Yaml), Ok(Scalar::Date));
        for text in ["2026-1-1", "2026-01-01x", "2026-01-01 10:00", "26-01-01", "2026-01-01T10:00:00+1:5"] {
            assert_eq!(Scalar::read(text, Format::Yaml), Ok(Scalar::Text), "{text}");
        }
    }
}
