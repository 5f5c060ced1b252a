//! From a log to what belongs into a condition: one line of bounded length.

use serde_json::Value;

/// Characters of what is told of one pod. Kubernetes' longest reasons, of a pod that fits no node, have about so many.
const LONGEST: usize = 400;

/// Cuts words that are too long.
pub(super) fn clip(words: &str) -> String {
    if words.chars().count() <= LONGEST {
        return words.to_owned();
    }
    let mut cut: String = words.chars().take(LONGEST - 1).collect();
    cut.push('…');
    cut
}

/// The message in one line.
pub(super) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The last line of a log that says something; a JSON line's message and error.
pub(super) fn last_words(log: &str) -> Option<String> {
    let line = log
        .lines()
        .rev()
        .map(str::trim)
        // What Rust adds below a panic.
        .find(|line| !line.is_empty() && !line.starts_with("note: run with `RUST_BACKTRACE"))?;
    let words = match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(entry)) => {
            let text = |name: &str| {
                let fields = entry.get("fields").and_then(Value::as_object);
                let field = fields
                    .and_then(|fields| fields.get(name))
                    .or_else(|| entry.get(name));
                field.and_then(Value::as_str)
            };
            let parts: Vec<_> = [text("message"), text("error")].into_iter().flatten().collect();
            match parts.is_empty() {
                true => line.to_owned(),
                false => parts.join(": "),
            }
        }
        _ => line.strip_prefix("error: ").unwrap_or(line).to_owned(),
    };
    Some(one_line(&words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(log: &str) -> String {
        last_words(log).unwrap_or_default()
    }

    #[test]
    fn the_last_line_speaks() {
        assert_eq!(
            last("starting\nerror: the topic is gone\n\n"),
            "the topic is gone"
        );
        assert_eq!(last(" \n"), "");
        assert_eq!(
            last(
                "thread 'main' panicked at src/a.rs:1:\nindex out of bounds\nnote: run with `RUST_BACKTRACE=1` environment"
            ),
            "index out of bounds"
        );
    }

    #[test]
    fn a_json_line_gives_its_message_and_error() {
        let line = r#"{"timestamp":"t","level":"ERROR","fields":{"message":"can't go on","error":"a\nb"},"target":"x"}"#;
        assert_eq!(last(line), "can't go on: a b");
        assert_eq!(last(r#"{"msg":1}"#), r#"{"msg":1}"#);
        // The kubelet keeps the end of a long line.
        assert_eq!(last(r#"on":"x"}}"#), r#"on":"x"}}"#);
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(clip("short"), "short");
        let cut = clip(&"ä".repeat(LONGEST + 1));
        assert_eq!(cut.chars().count(), LONGEST);
        assert!(cut.ends_with('…'));
    }
}
