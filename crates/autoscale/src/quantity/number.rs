//! The value of a quantity, in upstream's two representations, and its canonical text.
//!
//! Upstream keeps small values as a 64-bit mantissa with a power of ten and falls back to an arbitrary precision
//! decimal for the rest. Which one it is cannot be seen in the value, but it decides how the double is computed:
//! the fallback always has nine decimal places.

use super::text::{Format, ParseQuantityError, Pieces};

/// The smallest power of ten that is kept; what is below rounds away from zero.
const NANO: i32 = -9;

/// Upstream's `maxInt64Factors`: how many decimal digits surely fit 64 bits.
const SAFE_DIGITS: i32 = 18;

/// mantissa × 10^exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    mantissa: i128,
    exponent: i32,
    format: Format,
    /// The API server keeps the text as it was written.
    pub(super) kept: bool,
}

impl Number {
    pub(super) fn from_milli(milli: i64) -> Self {
        Self { mantissa: i128::from(milli), exponent: -3, format: Format::Decimal, kept: false }
    }

    pub(super) fn parse(text: &str) -> Result<Self, ParseQuantityError> {
        let pieces = Pieces::split(text)?;
        match Self::short(&pieces) {
            Some(number) => Ok(number),
            None => Self::exact(&pieces),
        }
    }

    /// Upstream's fast path: few digits, no binary fraction, nothing below a nano-unit.
    fn short(pieces: &Pieces<'_>) -> Option<Self> {
        let digits = pieces.digits() as i32;
        let (exponent, factor, spare) = match pieces.format {
            Format::Decimal | Format::Exponent => (pieces.exponent, 1, SAFE_DIGITS - digits),
            Format::Binary if pieces.fraction.is_empty() => {
                (0, 1_i64 << pieces.exponent, 15 - digits - pieces.exponent * 3 / 10 - 1)
            }
            Format::Binary => return None,
        };
        let exponent = exponent.wrapping_sub(pieces.fraction.len() as i32);
        if spare < 0 || exponent < NANO {
            return None;
        }
        let mut mantissa: i64 = 0;
        for digit in pieces.whole.bytes().chain(pieces.fraction.bytes()) {
            mantissa = mantissa.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
        }
        // The early returns of `ParseQuantity`: near enough to the canonical form.
        let kept = match pieces.format {
            Format::Binary => mantissa & 7 != 0,
            Format::Decimal | Format::Exponent => {
                exponent % 3 == 0 && mantissa % 1000 != 0 && !pieces.whole.starts_with('0')
            }
        };
        let mantissa = i128::from(mantissa.checked_mul(factor)?);
        let mantissa = if pieces.negative { -mantissa } else { mantissa };
        Some(Self { mantissa, exponent, format: pieces.format, kept })
    }

    /// Upstream's arbitrary precision path, which always ends at nine decimal places.
    fn exact(pieces: &Pieces<'_>) -> Result<Self, ParseQuantityError> {
        let mut digits: Vec<u8> =
            pieces.whole.bytes().chain(pieces.fraction.bytes()).map(|digit| digit - b'0').collect();
        let mut exponent = -(pieces.fraction.len() as i64);
        match pieces.format {
            Format::Decimal | Format::Exponent => exponent += i64::from(pieces.exponent),
            Format::Binary => {
                for _ in 0..pieces.exponent / 10 {
                    multiply_by_1024(&mut digits);
                }
            }
        }
        let magnitude = round_up_to_nano(&digits, exponent).ok_or(ParseQuantityError::OutOfRange)?;
        if magnitude == 0 {
            return Ok(Self { mantissa: 0, exponent: 0, format: pieces.format, kept: false });
        }
        let below_one = magnitude < 10_i128.pow(NANO.unsigned_abs());
        let format =
            if pieces.format == Format::Binary && below_one { Format::Decimal } else { pieces.format };
        let mantissa = if pieces.negative { -magnitude } else { magnitude };
        Ok(Self { mantissa, exponent: NANO, format, kept: false })
    }

    /// Thousandths, rounded away from zero; `None`: does not fit.
    pub(super) fn milli(&self) -> Option<i64> {
        let shift = self.exponent.checked_add(3)?;
        let milli = if self.mantissa == 0 {
            0
        } else if shift >= 0 {
            self.mantissa.checked_mul(power_of_ten(shift)?)?
        } else {
            // At nano the shift is -6, so the power exists.
            let divisor = power_of_ten(-shift)?;
            let away = if self.mantissa % divisor == 0 { 0 } else { self.mantissa.signum() };
            self.mantissa / divisor + away
        };
        i64::try_from(milli).ok()
    }

    /// `AsApproximateFloat64`: the mantissa as a double, times the power of ten as a double.
    pub(super) fn approximate(&self) -> f64 {
        let mantissa = self.mantissa as f64;
        if self.exponent == 0 {
            return mantissa;
        }
        // `math.Pow10` divides for negative powers; up to 22 both directions are exact or correctly rounded.
        let power = power_of_ten(self.exponent.abs()).map_or(f64::INFINITY, |power| power as f64);
        if self.exponent < 0 { mantissa * (1.0 / power) } else { mantissa * power }
    }

    /// The text that the API server stores (`CanonicalizeBytes`).
    pub(super) fn canonical(&self) -> String {
        if self.mantissa == 0 {
            return "0".to_owned();
        }
        if self.format == Format::Binary
            && let Some(text) = self.canonical_binary()
        {
            return text;
        }
        let mut mantissa = self.mantissa;
        let mut exponent = self.exponent;
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent += 1;
        }
        while exponent % 3 != 0 {
            mantissa *= 10;
            exponent -= 1;
        }
        // A binary number that is not a whole number is written in decimal.
        let format = if self.format == Format::Binary { Format::Decimal } else { self.format };
        match (format, exponent) {
            (_, 0) => mantissa.to_string(),
            (Format::Decimal, -9) => format!("{mantissa}n"),
            (Format::Decimal, -6) => format!("{mantissa}u"),
            (Format::Decimal, -3) => format!("{mantissa}m"),
            (Format::Decimal, 3) => format!("{mantissa}k"),
            (Format::Decimal, 6) => format!("{mantissa}M"),
            (Format::Decimal, 9) => format!("{mantissa}G"),
            (Format::Decimal, 12) => format!("{mantissa}T"),
            (Format::Decimal, 15) => format!("{mantissa}P"),
            (Format::Decimal, 18) => format!("{mantissa}E"),
            (_, exponent) => format!("{mantissa}e{exponent}"),
        }
    }

    /// With a binary suffix; `None`: too small or not a whole number.
    fn canonical_binary(&self) -> Option<String> {
        let mut whole = if self.exponent >= 0 {
            self.mantissa.checked_mul(power_of_ten(self.exponent)?)?
        } else {
            let divisor = power_of_ten(-self.exponent)?;
            if self.mantissa % divisor != 0 {
                return None;
            }
            self.mantissa / divisor
        };
        if whole.abs() < 1024 {
            return None;
        }
        let mut suffix = 0;
        while whole % 1024 == 0 && suffix < 6 {
            whole /= 1024;
            suffix += 1;
        }
        Some(format!("{whole}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][suffix]))
    }
}

/// 10^power; `None`: beyond 128 bits.
fn power_of_ten(power: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(power).ok()?)
}

/// Decimal digits, most significant first.
fn multiply_by_1024(digits: &mut Vec<u8>) {
    let mut carry = 0_u32;
    for digit in digits.iter_mut().rev() {
        let product = u32::from(*digit) * 1024 + carry;
        *digit = (product % 10) as u8;
        carry = product / 10;
    }
    while carry > 0 {
        digits.insert(0, (carry % 10) as u8);
        carry /= 10;
    }
}

/// digits × 10^exponent in nano-units, rounded up; `None`: beyond 128 bits.
fn round_up_to_nano(digits: &[u8], exponent: i64) -> Option<i128> {
    let significant = digits.iter().position(|digit| *digit != 0);
    let Some(first) = significant else { return Some(0) };
    let digits = &digits[first..];
    let shift = exponent - i64::from(NANO);
    let kept =
        if shift >= 0 { digits.len() } else { usize::try_from(digits.len() as i64 + shift).unwrap_or(0) };
    let mut value: i128 = 0;
    for digit in &digits[..kept] {
        value = value.checked_mul(10)?.checked_add(i128::from(*digit))?;
    }
    if shift > 0 {
        return value.checked_mul(power_of_ten(i32::try_from(shift).ok()?)?);
    }
    let remainder = digits[kept..].iter().any(|digit| *digit != 0);
    Some(value + i128::from(remainder))
}
