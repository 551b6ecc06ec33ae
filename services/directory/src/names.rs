//! Names for test data.

use rand::seq::IndexedRandom as _;

const FIRST: [&str; 24] = [
    "Amber", "Bold", "Calm", "Dusty", "Early", "Fuzzy", "Gentle", "Happy", "Icy", "Jolly", "Keen", "Lucky",
    "Merry", "Noble", "Odd", "Proud", "Quiet", "Rapid", "Sunny", "Tidy", "Usual", "Vivid", "Witty", "Young",
];
const LAST: [&str; 24] = [
    "Albatross",
    "Badger",
    "Curlew",
    "Dormouse",
    "Egret",
    "Ferret",
    "Gecko",
    "Heron",
    "Ibex",
    "Jackdaw",
    "Kestrel",
    "Lynx",
    "Marten",
    "Newt",
    "Otter",
    "Puffin",
    "Quail",
    "Raven",
    "Stoat",
    "Tern",
    "Urchin",
    "Vole",
    "Weasel",
    "Yaffle",
];

/// A random name of several hundred; users may share one.
pub(crate) fn name() -> String {
    let mut random = rand::rng();
    let mut one_of = |words: &[&'static str]| *words.choose(&mut random).unwrap_or(&"Somebody");
    format!("{} {}", one_of(&FIRST), one_of(&LAST))
}
