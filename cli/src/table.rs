//! Tables that fit: on a narrow terminal, the least important columns are omitted.

/// One column: its title, its rank of importance (0 always stays), and whether it is a number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub title: &'static str,
    pub rank: u8,
    pub is_number: bool,
}

impl Column {
    pub(crate) fn words(title: &'static str, rank: u8) -> Self {
        Self { title, rank, is_number: false }
    }

    pub(crate) fn number(title: &'static str, rank: u8) -> Self {
        Self { title, rank, is_number: true }
    }
}

/// Breaks a line of text at `width`; later lines are indented further.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    // What fits stays whole: a line of a table may end exactly at the edge.
    let whole = report::visible(text).replace('\t', " ");
    if whole.chars().count() <= width {
        return vec![whole.trim_end().to_owned()];
    }
    let indent = text.len() - text.trim_start_matches(' ').len();
    let lines =
        report::wrap(text.trim_start_matches(' '), width.saturating_sub(indent + 2)).into_iter().enumerate();
    lines
        .map(|(index, line)| format!("{}{line}", " ".repeat(if index == 0 { indent } else { indent + 2 })))
        .collect()
}

const INDENT: usize = 2;
const GAP: usize = 2;

/// The table's lines, each at most `width` wide if possible.
pub(crate) fn lines<const N: usize>(columns: [Column; N], rows: &[[String; N]], width: usize) -> Vec<String> {
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.clone().map(|cell| report::visible(&cell).into_owned())).collect();
    let widest = |index: usize| {
        let cells = rows.iter().map(|row| row[index].chars().count());
        cells.chain([columns[index].title.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(widest).collect();
    // An empty column takes no space.
    let mut kept: Vec<usize> = (0..N).filter(|index| widths[*index] > 0).collect();
    let total = |kept: &[usize]| {
        INDENT + kept.iter().map(|index| widths[*index]).sum::<usize>() + GAP * kept.len().saturating_sub(1)
    };
    while total(&kept) > width {
        let least = kept.iter().enumerate().max_by_key(|(_, index)| columns[**index].rank);
        match least {
            Some((at, index)) if columns[*index].rank > 0 => drop(kept.remove(at)),
            _ => break,
        }
    }
    let line = |cell: &dyn Fn(usize) -> String| {
        let cells = kept.iter().map(|index| {
            let (cell, width) = (cell(*index), widths[*index]);
            if columns[*index].is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let cells = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
        format!("{}{cells}", " ".repeat(INDENT)).trim_end().to_owned()
    };
    let has_titles = columns.iter().any(|column| !column.title.is_empty());
    let titles = has_titles.then(|| line(&|index| columns[index].title.to_owned()));
    titles.into_iter().chain(rows.iter().map(|row| line(&|index| row[index].clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_its_indent() {
        assert_eq!(wrapped("  one two three", 11), ["  one two", "    three"]);
        assert_eq!(wrapped("one", 40), ["one"]);
        assert_eq!(wrapped("  A  B  C", 9), ["  A  B  C"]);
        assert_eq!(wrapped("  a\u{1b}[2J ", 40), ["  a\\x1b[2J"]);
    }

    #[test]
    fn the_least_important_columns_go_first() {
        let columns = [Column::words("NAME", 0), Column::words("PLACE", 2), Column::number("LOAD", 1)];
        let rows = [["a".to_owned(), "somewhere".to_owned(), "12".to_owned()]];
        assert_eq!(lines(columns, &rows, 80), ["  NAME  PLACE      LOAD", "  a     somewhere    12"]);
        assert_eq!(lines(columns, &rows, 20), ["  NAME  LOAD", "  a       12"]);
        assert_eq!(lines(columns, &rows, 3), ["  NAME", "  a"]);
    }
}
