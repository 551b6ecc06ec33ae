//! The look of text.

/// The text's destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Use ANSI colours.
    pub color: bool,
    /// Maximum number of columns in a line. Fewer than 40 are treated as 40.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, width: 100 }
    }
}

/// The meaning of a piece of text, which determines its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Faint,
    Load,
    Metric,
    Decision,
    Pod,
    Target,
    Good,
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Faint => "2",
            Self::Load => "36",
            Self::Metric | Self::Target => "33",
            Self::Decision => "1;35",
            Self::Pod => "34",
            Self::Good => "32",
            Self::Bad => "1;31",
        }
    }
}

impl Style {
    const WIDTH_MIN: usize = 40;

    pub(crate) fn width(self) -> usize {
        self.width.max(Self::WIDTH_MIN)
    }

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.color || text.is_empty() || tone == Tone::Plain {
            text.to_owned()
        } else {
            format!("\x1b[{}m{text}\x1b[0m", tone.code())
        }
    }
}
