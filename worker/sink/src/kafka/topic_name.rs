use crate::SinkError;

/// Kafka's longest topic name.
const LONGEST: usize = 249;

/// A topic expression: text with the fields `{schema}` and `{table}`.
///
/// Characters of names that Kafka refuses become `_`, long names are cut, and `.` and `..` become `_` and `__`, as
/// TiCDC does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicExpression {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Schema,
    Table,
}

impl TopicExpression {
    pub(super) fn parse(text: &str) -> Result<Self, SinkError> {
        let wrong = |problem: String| {
            SinkError::Config(format!(
                "sink.kafka.topic {text:?}: {problem}; write letters, digits, '.', '_', '-' and the fields {{schema}} and {{table}}"
            ))
        };
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (plain, field) = match rest.split_once('{') {
                Some((plain, after)) => (plain, Some(after)),
                None => (rest, None),
            };
            if let Some(letter) = plain.chars().find(|&letter| !is_legal(letter)) {
                return Err(wrong(format!("{letter:?} can't be in a topic's name")));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(plain.into()));
            }
            let Some(field) = field else { break };
            let Some((name, after)) = field.split_once('}') else {
                return Err(wrong("'{' has no '}'".into()));
            };
            parts.push(match name {
                "schema" => Part::Schema,
                "table" => Part::Table,
                other => return Err(wrong(format!("there is no field {{{other}}}"))),
            });
            rest = after;
        }
        if parts.is_empty() {
            return Err(wrong("it is empty".into()));
        }
        Ok(Self { parts })
    }

    /// The topic's name, if it is the same for all tables.
    pub(super) fn constant(&self) -> Option<String> {
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Text(_)))
            .then(|| self.topic("", ""))
    }

    /// The topic of a table.
    pub(super) fn topic(&self, schema: &str, table: &str) -> String {
        let mut name = String::new();
        for part in &self.parts {
            let text = match part {
                Part::Text(text) => text,
                Part::Schema => schema,
                Part::Table => table,
            };
            name.extend(
                text.chars()
                    .map(|letter| if is_legal(letter) { letter } else { '_' }),
            );
        }
        name.truncate(LONGEST);
        match name.as_str() {
            "." => "_".into(),
            ".." => "__".into(),
            _ => name,
        }
    }
}

fn is_legal(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn topic(expression: &str, schema: &str, table: &str) -> String {
        TopicExpression::parse(expression).unwrap().topic(schema, table)
    }

    #[test]
    fn fields_are_filled_in() {
        assert_eq!(
            topic("cdc-{schema}.{table}_v1", "shop", "orders"),
            "cdc-shop.orders_v1"
        );
        assert_eq!(topic("{table}{schema}", "a", "b"), "ba");
        assert_eq!(topic("all", "a", "b"), "all");
    }

    #[test]
    fn what_kafka_refuses_becomes_an_underscore() {
        assert_eq!(topic("{schema}.{table}", "Läden", "o r$d"), "L_den.o_r_d");
        assert_eq!(topic("{schema}", ".", ""), "_");
        assert_eq!(topic("{schema}", "..", ""), "__");
        assert_eq!(topic("x{table}", "", &"t".repeat(300)).len(), 249);
    }

    #[test]
    fn only_plain_text_is_constant() {
        assert_eq!(
            TopicExpression::parse("all").unwrap().constant().as_deref(),
            Some("all")
        );
        assert_eq!(TopicExpression::parse("a{schema}").unwrap().constant(), None);
    }

    #[test]
    fn wrong_expressions_name_what_is_wrong() {
        for (text, part) in [
            ("", "empty"),
            ("a b", "' '"),
            ("{schema", "no '}'"),
            ("{column}", "{column}"),
            ("a}", "'}'"),
        ] {
            let error = TopicExpression::parse(text).unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("sink.kafka.topic"),
                "{text}: {error}"
            );
        }
    }
}
