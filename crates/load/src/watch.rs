//! Searches a stream for several texts at once, with the Aho–Corasick automaton.

/// The automaton's state. 0: no text has started.
pub(crate) type Place = u16;

/// The automaton. Shared by all connections; each has a [`Place`].
#[derive(Debug)]
pub(crate) struct Watch {
    next: Vec<[Place; 256]>,
    /// Length of the longest text that has started.
    depth: Vec<u16>,
    /// The text that ends here.
    found: Vec<Option<u16>>,
}

impl Watch {
    /// For at most 65,535 bytes of texts in total; anything beyond is not found.
    pub(crate) fn new<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut watch = Self { next: vec![[0; 256]], depth: vec![0], found: vec![None] };
        for (number, text) in texts.into_iter().enumerate() {
            if text.is_empty() || watch.next.len() + text.len() > usize::from(Place::MAX) {
                continue;
            }
            let mut place = 0_usize;
            for byte in text {
                let known = watch.next[place][usize::from(*byte)];
                if known == 0 {
                    watch.next[place][usize::from(*byte)] = watch.next.len() as Place;
                    watch.depth.push(watch.depth[place] + 1);
                    watch.next.push([0; 256]);
                    watch.found.push(None);
                }
                place = usize::from(watch.next[place][usize::from(*byte)]);
            }
            watch.found[place].get_or_insert(number as u16);
        }
        watch.connect();
        watch
    }

    /// The target of a mismatch: the longest other start that the stream matches.
    fn connect(&mut self) {
        let mut fallback = vec![0_usize; self.next.len()];
        let mut order: Vec<usize> = (1..self.next.len()).collect();
        order.sort_by_key(|place| self.depth[*place]);
        order.insert(0, 0);
        for place in order {
            let back = fallback[place];
            self.found[place] = self.found[place].or(self.found[back]);
            for byte in 0..256 {
                let through = if place == 0 { 0 } else { self.next[back][byte] };
                match self.next[place][byte] {
                    0 => self.next[place][byte] = through,
                    child => fallback[usize::from(child)] = usize::from(through),
                }
            }
        }
    }

    pub(crate) fn step(&self, place: Place, byte: u8) -> Place {
        self.next[usize::from(place)][usize::from(byte)]
    }

    pub(crate) fn depth(&self, place: Place) -> u32 {
        u32::from(self.depth[usize::from(place)])
    }

    pub(crate) fn found(&self, place: Place) -> Option<u16> {
        self.found[usize::from(place)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(watch: &Watch, text: &[u8]) -> Vec<(usize, u16)> {
        let mut place = 0;
        let mut all = Vec::new();
        for (at, byte) in text.iter().enumerate() {
            place = watch.step(place, *byte);
            all.extend(watch.found(place).map(|number| (at + 1, number)));
        }
        all
    }

    #[test]
    fn texts_are_found_at_any_position() {
        let watch = Watch::new([&b"reconnect"[..], b"<one>", b"<two>"]);
        assert_eq!(found(&watch, b"12345<one><<two>rereconnect"), [(10, 1), (16, 2), (27, 0)]);
        assert_eq!(watch.depth(watch.step(0, b'r')), 1);
        assert_eq!(found(&watch, b""), []);
    }

    proptest! {
        /// For texts that do not contain one another, finds the same as searching for each of them.
        #[test]
        fn agrees_with_a_search_for_each(stream in "[ab<>]{0,60}", one in "[ab]{1,5}", two in "[ab]{1,5}") {
            let texts = [format!("<{one}>"), format!("<{two}>")];
            let distinct = if texts[0] == texts[1] { &texts[..1] } else { &texts[..] };
            let watch = Watch::new(distinct.iter().map(String::as_bytes));
            let mut wanted: Vec<(usize, u16)> = distinct
                .iter()
                .enumerate()
                .flat_map(|(number, text)| {
                    stream.match_indices(text.as_str()).map(move |(at, _)| (at + text.len(), number as u16))
                })
                .collect();
            wanted.sort_unstable();
            prop_assert_eq!(found(&watch, stream.as_bytes()), wanted);
        }
    }
}
