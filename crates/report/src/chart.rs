//! Line charts drawn in characters.
//!
//! A chart is a grid of cells, so that two charts fit side by side and colours never disturb the columns.

use crate::{
    style::{Style, Tone},
    words::{compact, mark},
};

/// A character and its meaning.
type Cell = (char, Tone);

/// A rectangle of cells, top row first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grid {
    rows: Vec<Vec<Cell>>,
}

/// The contents of a chart.
pub(crate) struct Chart<'a> {
    pub(crate) title: Vec<(String, Tone)>,
    /// In columns, axis included.
    pub(crate) width: usize,
    /// In rows, without title and time axis.
    pub(crate) height: usize,
    /// First and last moment, ms.
    pub(crate) range: (u64, u64),
    /// The value of the top row.
    pub(crate) top: f64,
    /// Values that get a label on the axis.
    pub(crate) labels: Vec<f64>,
    /// Drawn in this order, later ones over earlier ones.
    pub(crate) lines: Vec<Line<'a>>,
}

/// One line of a chart.
pub(crate) struct Line<'a> {
    pub(crate) tone: Tone,
    pub(crate) dotted: bool,
    /// The value in the time from the first moment up to the second, in ms; `None` if there is none.
    pub(crate) value: Box<dyn Fn(u64, u64) -> Option<f64> + 'a>,
}

impl Chart<'_> {
    pub(crate) fn draw(&self) -> Grid {
        let gutter = self.labels.iter().map(|label| compact(*label).chars().count()).max().unwrap_or(0);
        let columns = self.width.saturating_sub(gutter + 2).max(1);
        let mut plot = vec![vec![(' ', Tone::Plain); columns]; self.height];
        for line in &self.lines {
            self.draw_line(line, &mut plot);
        }
        let mut title: Vec<Cell> = self
            .title
            .iter()
            .flat_map(|(text, tone)| text.chars().map(|character| (character, *tone)))
            .collect();
        title.truncate(self.width);
        let mut rows = vec![title];
        for (index, cells) in plot.into_iter().enumerate() {
            let at = self.height - 1 - index;
            let label = self.labels.iter().find(|label| self.row(**label) == at).map(|label| compact(*label));
            let corner = if label.is_some() { '┤' } else { '│' };
            let text = format!("{:>gutter$} {corner}", label.unwrap_or_default());
            let axis = text.chars().map(|character| (character, Tone::Faint));
            rows.push(axis.chain(cells).collect());
        }
        let axis = format!("{} └{}", " ".repeat(gutter), self.time_axis(columns));
        rows.push(axis.chars().map(|character| (character, Tone::Faint)).collect());
        Grid { rows }
    }

    fn row(&self, value: f64) -> usize {
        let share = if self.top > 0.0 { value / self.top } else { 0.0 };
        (share.clamp(0.0, 1.0) * (self.height - 1) as f64).round() as usize
    }

    fn draw_line(&self, line: &Line<'_>, plot: &mut [Vec<Cell>]) {
        let (from, to) = self.range;
        let columns = plot[0].len();
        let span = u128::from(to.saturating_sub(from));
        let moment = |column: usize| from + (span * column as u128 / columns as u128) as u64;
        let row = |column: usize| {
            let value = (line.value)(moment(column), moment(column + 1))?;
            Some(self.height - 1 - self.row(value))
        };
        let mut before: Option<usize> = None;
        let rows: Vec<_> = (0..columns).map(row).collect();
        for (column, here) in rows.into_iter().enumerate() {
            let mut put = |row: usize, character: char| plot[row][column] = (character, line.tone);
            match (before, here) {
                (_, None) => {}
                (Some(before), Some(here)) if before != here && !line.dotted => {
                    // Rows count from the top: a larger one is lower.
                    let (leave, arrive) = if here < before { ('╯', '╭') } else { ('╮', '╰') };
                    put(before, leave);
                    put(here, arrive);
                    for between in before.min(here) + 1..before.max(here) {
                        put(between, '│');
                    }
                }
                (_, Some(here)) => put(here, if line.dotted { '┄' } else { '─' }),
            }
            before = here;
        }
    }

    /// `0:00 ──── 1:00 ──── 2:00`: as many round moments as fit.
    fn time_axis(&self, columns: usize) -> String {
        const STEPS_S: [u64; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400];
        const ROOM: usize = 11;
        let (from, to) = self.range;
        let span = to.saturating_sub(from).max(1);
        let most = (columns / ROOM).max(1) as u64;
        let step =
            STEPS_S.iter().map(|seconds| seconds * 1000).find(|step| span / step <= most).unwrap_or(span);
        let mut axis = vec!['─'; columns];
        let moments =
            std::iter::successors(from.checked_next_multiple_of(step), |moment| moment.checked_add(step));
        for moment in moments.take_while(|moment| *moment <= to) {
            let column = (u128::from(moment - from) * columns as u128 / u128::from(span)) as usize;
            let label = format!("{} ", mark(moment));
            let label = if column == 0 { label } else { format!(" {label}") };
            if column + label.chars().count() <= columns {
                for (offset, character) in label.chars().enumerate() {
                    axis[column + offset] = character;
                }
            }
        }
        axis.into_iter().collect()
    }
}

impl Grid {
    /// Puts another grid to the right, `gap` columns away.
    pub(crate) fn beside(mut self, other: Self, gap: usize) -> Self {
        let width = self.rows.iter().map(Vec::len).max().unwrap_or(0) + gap;
        for (index, cells) in other.rows.into_iter().enumerate() {
            if self.rows.len() <= index {
                self.rows.push(Vec::new());
            }
            let row = &mut self.rows[index];
            row.resize(width, (' ', Tone::Plain));
            row.extend(cells);
        }
        self
    }

    /// The lines of text, without white space at their ends.
    pub(crate) fn text(&self, style: Style) -> Vec<String> {
        let lines = self.rows.iter().map(|row| {
            let end = row.iter().rposition(|(character, _)| *character != ' ').map_or(0, |last| last + 1);
            row[..end]
                .chunk_by(|(_, a), (_, b)| a == b)
                .map(|run| {
                    style.paint(run[0].1, &run.iter().map(|(character, _)| character).collect::<String>())
                })
                .collect()
        });
        lines.collect()
    }
}

/// The round number at or above `value` where an axis ends.
pub(crate) fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let magnitude = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    // The factor absorbs the rounding error of dividing an exactly round number.
    let step = steps.into_iter().find(|step| value <= step * magnitude * (1.0 + 1e-9));
    step.unwrap_or(10.0) * magnitude
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart<'a>(value: impl Fn(u64, u64) -> Option<f64> + 'a) -> Chart<'a> {
        Chart {
            title: vec![("replicas".to_owned(), Tone::Strong)],
            width: 34,
            height: 3,
            range: (0, 60_000),
            top: 2.0,
            labels: vec![0.0, 1.0, 2.0],
            lines: vec![Line { tone: Tone::Pod, dotted: false, value: Box::new(value) }],
        }
    }

    #[test]
    fn a_line_goes_up_and_down() {
        let value = |from: u64, _| Some(if (20_000..40_000).contains(&from) { 2.0 } else { 1.0 });
        let style = Style { color: false, width: 80 };
        assert_eq!(
            chart(value).draw().text(style),
            [
                "replicas",
                "2 ┤           ╭─────────╮",
                "1 ┤───────────╯         ╰─────────",
                "0 ┤",
                "  └0:00 ────────── 0:30 ──────────",
            ]
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        let style = Style { color: true, width: 80 };
        let lines = chart(|_, _| Some(1.0)).draw().text(style);
        assert_eq!(lines[0], "\u{1b}[1mreplicas\u{1b}[0m");
        assert!(lines[2].contains("\u{1b}[34m──"), "{:?}", lines[2]);
    }

    #[test]
    fn gaps_without_values_stay_empty_and_all_lines_fit() {
        for (from, to) in [(0, 0), (0, 1), (5_000, 86_400_000)] {
            let mut chart = chart(|_, _| None);
            chart.range = (from, to);
            let lines = chart.draw().text(Style::default());
            assert!(lines.iter().all(|line| line.chars().count() <= 34), "{lines:?}");
            assert_eq!(lines[1], "2 ┤");
        }
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, end) in
            [(0.0, 1.0), (1.0, 1.0), (7.0, 8.0), (10_000.0, 10_000.0), (10_001.0, 12_000.0), (0.7, 0.8)]
        {
            assert!((round_up(value) - end).abs() < 1e-9, "{value}");
        }
    }
}
