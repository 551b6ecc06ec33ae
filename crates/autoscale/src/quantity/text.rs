//! Splits a quantity's text into sign, digits and suffix. No arithmetic here.

/// Why a text is not a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    #[error("expected a number with an optional suffix, such as 5k, 0.5 or 300Mi")]
    Format,
    #[error(
        "unknown suffix, expected one of n u m k M G T P E, Ki Mi Gi Ti Pi Ei, or an exponent such as e3"
    )]
    Suffix,
    #[error("the value does not fit 64-bit thousandths (at most about 9.2e15 units)")]
    OutOfRange,
    #[error("longer than {} characters", MAX_LENGTH)]
    TooLong,
}

/// Far above any sensible quantity; it bounds the work of the exact arithmetic.
const MAX_LENGTH: usize = 256;

/// How a quantity was written, which decides how it is written back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `12M`
    Decimal,
    /// `12e6`
    Exponent,
    /// `12Mi`
    Binary,
}

/// The pieces of a quantity's text. `whole` has no leading zeros but at least one digit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pieces<'a> {
    pub(super) negative: bool,
    pub(super) whole: &'a str,
    pub(super) fraction: &'a str,
    /// The power of ten, or of two with [`Format::Binary`].
    pub(super) exponent: i32,
    pub(super) format: Format,
}

impl<'a> Pieces<'a> {
    pub(super) fn split(text: &'a str) -> Result<Self, ParseQuantityError> {
        if text.is_empty() {
            return Err(ParseQuantityError::Format);
        }
        if text.len() > MAX_LENGTH {
            return Err(ParseQuantityError::TooLong);
        }
        let (negative, unsigned) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        // Surprising but upstream's rule: the digits may be absent, so `k` and `+` are quantities of zero.
        let (digits, rest) = split_while(unsigned, |byte| byte.is_ascii_digit());
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => split_while(rest, |byte| byte.is_ascii_digit()),
            None => ("", rest),
        };
        check_suffix_shape(suffix)?;
        let (exponent, format) = interpret_suffix(suffix)?;
        let whole = match digits.trim_start_matches('0') {
            "" => "0",
            significant => significant,
        };
        Ok(Self { negative, whole, fraction, exponent, format })
    }

    /// The number of digits, without the leading zeros of the whole part.
    pub(super) fn digits(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }
}

/// Letters, then a sign, then digits: anything else is a malformed text rather than an unknown suffix.
fn check_suffix_shape(suffix: &str) -> Result<(), ParseQuantityError> {
    let (_, rest) = split_while(suffix, |byte| b"eEinumkKMGTP".contains(&byte));
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    if rest.bytes().all(|byte| byte.is_ascii_digit()) { Ok(()) } else { Err(ParseQuantityError::Format) }
}

fn interpret_suffix(suffix: &str) -> Result<(i32, Format), ParseQuantityError> {
    let found = match suffix {
        "n" => (-9, Format::Decimal),
        "u" => (-6, Format::Decimal),
        "m" => (-3, Format::Decimal),
        "" => (0, Format::Decimal),
        "k" => (3, Format::Decimal),
        "M" => (6, Format::Decimal),
        "G" => (9, Format::Decimal),
        "T" => (12, Format::Decimal),
        "P" => (15, Format::Decimal),
        // Not an exponent: a lone `E` is exa.
        "E" => (18, Format::Decimal),
        "Ki" => (10, Format::Binary),
        "Mi" => (20, Format::Binary),
        "Gi" => (30, Format::Binary),
        "Ti" => (40, Format::Binary),
        "Pi" => (50, Format::Binary),
        "Ei" => (60, Format::Binary),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or(ParseQuantityError::Suffix)?;
            let exponent: i64 = exponent.parse().map_err(|_| ParseQuantityError::Suffix)?;
            // Upstream narrows to 32 bits without a check (`suffixHandler.interpret`).
            (exponent as i32, Format::Exponent)
        }
    };
    Ok(found)
}

/// The longest prefix whose bytes all satisfy `accept` (ASCII bytes only), and what follows it.
fn split_while(text: &str, accept: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii() || !accept(byte)).unwrap_or(text.len());
    text.split_at(end)
}
