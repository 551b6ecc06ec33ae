use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Quantity {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn reads_what_people_write() {
    for (text, milli) in [
        ("5k", 5_000_000),
        ("0.5", 500),
        ("500m", 500),
        ("300Mi", 314_572_800_000),
        ("1e3", 1_000_000),
        ("-2", -2000),
        ("1n", 1),
        ("1500u", 2),
    ] {
        assert_eq!(parse(text).milli(), milli, "{text}");
    }
}

#[test]
fn texts_without_digits_are_zero_as_upstream() {
    for text in ["k", ".", "+", "-", "0", "0E", "00"] {
        assert_eq!(parse(text).milli(), 0, "{text}");
    }
}

#[test]
fn refuses_texts_that_are_not_quantities() {
    for text in
        ["", " 1", "1 ", "5K", "1kk", "0x10", "1,5", "1.2.3", "1e", "e", "NaN", "inf", "1e3k", "é", "1é"]
    {
        assert!(text.parse::<Quantity>().is_err(), "{text}");
    }
}

#[test]
fn refuses_what_does_not_fit_instead_of_wrapping() {
    for text in [
        "9223372036854775807",
        "10P",
        "1E",
        "10E",
        "1Ei",
        "8Ei",
        "-1Ei",
        "1e30",
        "1e2147483647",
        "99999999999999999999999999999999999",
    ] {
        assert_eq!(text.parse::<Quantity>().unwrap_err(), ParseQuantityError::OutOfRange, "{text}");
    }
    assert_eq!("1".repeat(257).parse::<Quantity>().unwrap_err(), ParseQuantityError::TooLong);
}

#[test]
fn tiny_values_round_away_from_zero() {
    assert_eq!(parse("0.0000000000001").milli(), 1);
    assert_eq!(parse("-0.0000000000001").milli(), -1);
    assert_eq!(parse("1e-2000000000").milli(), 1);
}

#[test]
fn prints_the_form_that_is_stored() {
    for (text, stored) in [
        ("5000", "5k"),
        ("5k", "5k"),
        ("0.7", "700m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("0.5Ki", "512"),
        ("1.5Gi", "1536Mi"),
        ("12000e3", "12e6"),
        ("0Ki", "0"),
        ("+3", "+3"),
    ] {
        assert_eq!(parse(text).to_string(), stored, "{text}");
    }
    assert_eq!(Quantity::from_milli(5_000_000).to_string(), "5k");
    assert_eq!(Quantity::from_milli(-1500).to_string(), "-1500m");
}

#[test]
fn json_may_hold_numbers_and_surrounding_space() {
    let read = |json: &str| serde_json::from_str::<Quantity>(json).map(|quantity| quantity.milli());
    assert_eq!(read("\" 5k \"").unwrap(), 5_000_000);
    assert_eq!(read("0.1").unwrap(), 100);
    assert_eq!(read("-7").unwrap(), -7000);
    let error = read("\"5K\"").unwrap_err().to_string();
    assert!(error.contains("`5K` is not a quantity"), "{error}");
    assert!(yaml::from_str::<Quantity>(".nan").is_err());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
        let _ = text.parse::<Quantity>();
    }

    #[test]
    fn what_is_printed_reads_back(text in "[+-]?[0-9]{0,12}(\\.[0-9]{0,12})?(|n|u|m|k|M|G|T|P|Ki|Mi|Gi|Ti|e-?[0-9]{1,2})") {
        if let Ok(quantity) = text.parse::<Quantity>() {
            let again = parse(&quantity.to_string());
            prop_assert_eq!(again.milli(), quantity.milli());
            prop_assert_eq!(again.as_f64().to_bits(), quantity.as_f64().to_bits());
            prop_assert_eq!(again.to_string(), quantity.to_string());
        }
    }

    #[test]
    fn milli_units_survive_printing(milli: i64) {
        let quantity = Quantity::from_milli(milli);
        prop_assert_eq!(quantity.milli(), milli);
        prop_assert_eq!(parse(&quantity.to_string()).milli(), milli);
    }
}
