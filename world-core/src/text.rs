//! Bounds for the texts that code and callers bring: what an error says, why a run is blocked or
//! cancelled. Each is cut where it enters the engine, so that every record with one fits.

use std::fmt::{self, Display, Write as _};

/// The most bytes that are kept of one text.
pub(crate) const TEXT_BYTES_MAX: usize = 8 << 10;

/// The most bytes that are kept of the causes of a failure, all together.
pub(crate) const CAUSES_BYTES_MAX: usize = 64 << 10;

/// Returns what a value shows, cut to [`TEXT_BYTES_MAX`] with a mark that says how much was cut.
/// Not more than that is in memory at any time.
pub(crate) fn shown(value: &(impl Display + ?Sized)) -> String {
    let mut text = Bounded::default();
    // A value that cannot be shown to its end has been shown as far as it goes.
    let _ = write!(text, "{value}");
    text.finish()
}

/// Cuts a text as [`shown`] does.
pub(crate) fn bounded(text: String) -> String {
    if text.len() <= TEXT_BYTES_MAX { text } else { shown(&text) }
}

/// Cuts the list of a failure's causes, each of them cut already, to [`CAUSES_BYTES_MAX`].
pub(crate) fn bound_causes(causes: &mut Vec<String>) {
    let mut room = CAUSES_BYTES_MAX;
    let fits = |cause: &&String| {
        let left = room.checked_sub(cause.len());
        room = left.unwrap_or(0);
        left.is_some()
    };
    let kept = causes.iter().take_while(fits).count();
    let cut = causes.len() - kept;
    if cut > 0 {
        causes.truncate(kept);
        causes.push(format!("[cut: {cut} more causes]"));
    }
}

/// The beginning of a text, and how many bytes of it were cut.
#[derive(Default)]
struct Bounded {
    kept: String,
    cut: usize,
}

impl Bounded {
    fn finish(mut self) -> String {
        if self.cut > 0 {
            let _ = write!(self.kept, " [cut: {} more bytes]", self.cut); // a String takes all
        }
        self.kept
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = if self.cut > 0 { 0 } else { TEXT_BYTES_MAX - self.kept.len() };
        let kept = char_boundary(text, room);
        self.kept.push_str(&text[..kept]);
        self.cut = self.cut.saturating_add(text.len() - kept);
        Ok(())
    }
}

/// The last boundary between characters that is not after `most` bytes.
fn char_boundary(text: &str, most: usize) -> usize {
    if most >= text.len() {
        return text.len();
    }
    (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_within_the_bound_stays_as_it_is() {
        let text = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(bounded(text.clone()), text);
        assert_eq!(shown(&text), text);
    }

    #[test]
    fn a_longer_text_is_cut_between_characters_and_says_how_much_is_missing() {
        let text = "x".to_owned() + &"ä".repeat(TEXT_BYTES_MAX);
        let cut = bounded(text.clone());
        let kept = "x".to_owned() + &"ä".repeat(TEXT_BYTES_MAX / 2 - 1);
        let missing = text.len() - kept.len();
        assert_eq!(cut, format!("{kept} [cut: {missing} more bytes]"));
    }

    #[test]
    fn what_is_shown_in_pieces_goes_on_after_no_cut() {
        struct Pieces;
        impl Display for Pieces {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (0..TEXT_BYTES_MAX).try_for_each(|_| f.write_str("äh"))
            }
        }
        let shown = shown(&Pieces);
        let missing = TEXT_BYTES_MAX * 3 - TEXT_BYTES_MAX;
        let said = format!("[cut: {missing} more bytes]");
        assert!(shown.ends_with(&said), "{} and not {said}", &shown[TEXT_BYTES_MAX - 9..]);
    }

    #[test]
    fn causes_beyond_the_bound_are_counted() {
        let cause = "y".repeat(TEXT_BYTES_MAX);
        let mut causes = vec![cause.clone(); 20];
        bound_causes(&mut causes);
        assert_eq!(causes.len(), CAUSES_BYTES_MAX / TEXT_BYTES_MAX + 1);
        assert_eq!(causes.last().unwrap(), "[cut: 12 more causes]");
        let mut few = vec![cause; 3];
        bound_causes(&mut few);
        assert_eq!(few.len(), 3);
    }
}
