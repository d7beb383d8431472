//! Values as markup: short ones as they are, long ones folded.

use maud::{Markup, html};
use serde_json::Value;

use crate::text::{self, Piece};

/// Characters of a value that stand in a table without folding.
const SHORT: usize = 64;
/// Characters of a folded value that are shown at most; a log of a megabyte belongs to the evidence.
const MOST: usize = 6_000;

pub(super) fn pieces(pieces: &[Piece]) -> Markup {
    html! {
        @for piece in pieces {
            @if piece.is_word { i { (piece.text) } } @else { (piece.text) }
        }
    }
}

/// A value in a cell.
pub(super) fn value(value: &Value) -> Markup {
    let line = text::one_line_pieces(value);
    let length: usize = line.iter().map(|piece| piece.text.chars().count()).sum();
    if length <= SHORT && !matches!(value, Value::String(text) if text.contains('\n')) {
        return html! { code { (pieces(&line)) } };
    }
    let brief = match value {
        // The first line that says something.
        Value::String(text) => {
            let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
            html! { (text::shortened(line, SHORT - 1)) @if line.chars().count() < SHORT { " …" } }
        }
        _ => pieces(&cut(&line, SHORT - 4)),
    };
    html! {
        details.value {
            summary { code { (brief) } }
            pre { (pieces(&cut(&text::pretty_pieces(value), MOST))) }
        }
    }
}

/// A value behind a word, for where its place is taken by a difference.
pub(super) fn behind(word: &str, value: &Value) -> Markup {
    html! {
        details.value {
            summary { (word) }
            pre { (pieces(&cut(&text::pretty_pieces(value), MOST))) }
        }
    }
}

/// The first characters, and an ellipsis when there are more.
fn cut(pieces: &[Piece], most: usize) -> Vec<Piece> {
    let mut left = most;
    let mut kept = Vec::new();
    for piece in pieces {
        let length = piece.text.chars().count();
        if length <= left {
            left -= length;
            kept.push(piece.clone());
        } else {
            kept.push(Piece { text: text::shortened(&piece.text, left + 1), is_word: piece.is_word });
            if left == 0 {
                // Nothing of it was left but the ellipsis.
                kept.pop();
                kept.push(Piece { text: "…".to_owned(), is_word: false });
            }
            break;
        }
    }
    kept
}

/// A unified diff, its lines marked. Who is who is told by the words around it.
pub(super) fn diff(diff: &str) -> Markup {
    let shown = text::shortened(diff, MOST);
    let lines = shown.lines().filter(|line| !line.starts_with("--- expected") && !line.starts_with("+++ observed"));
    html! {
        pre.diff {
            @for line in lines {
                @match line.as_bytes().first() {
                    Some(b'@') if line.starts_with("@@ -1,") || line.starts_with("@@ -1 ") => {},
                    Some(b'@') => span.hunk { "⋯\n" },
                    Some(b'+') => ins { (line) "\n" },
                    Some(b'-') => del { (line) "\n" },
                    _ => { (line) "\n" },
                }
            }
        }
    }
}

/// Prose with Markdown's inline code.
pub(super) fn prose(text: &str) -> Markup {
    let parts: Vec<&str> = text.split('`').collect();
    // An odd backtick has no partner: then none of them is markup.
    if parts.len().is_multiple_of(2) {
        return html! { (text) };
    }
    html! {
        @for (index, part) in parts.iter().enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
