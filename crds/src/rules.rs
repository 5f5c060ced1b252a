use thiserror::Error;

/// Rules that choose tables by name; the last rule that matches decides.
///
/// A rule is `schema.table`. In each part `*` stands for any text, `?` for one character and `[a-z]`
/// or `[!a-z]` for one character of (or not of) a class; a part in backquotes is taken as it is. `!` in
/// front leaves the matching tables out. Case doesn't count, as in TiDB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableRules {
    rules: Vec<Rule>,
}

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("table rule {rule:?}: {problem}")]
pub struct RuleError {
    /// The rule's text.
    pub rule: String,
    /// What is wrong and how to mend it.
    pub problem: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    keep: bool,
    schema: Pattern,
    table: Pattern,
}

type Pattern = Vec<Token>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Many,
    Class { not: bool, ranges: Vec<(char, char)> },
}

impl TableRules {
    /// Parses the rules; none choose every table.
    pub fn parse<T: AsRef<str>>(rules: &[T]) -> Result<Self, RuleError> {
        let rules = rules
            .iter()
            .map(|rule| parse_rule(rule.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// Whether the table is chosen.
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        if self.rules.is_empty() {
            return true;
        }
        let (schema, table) = (fold(schema), fold(table));
        let hit = |rule: &&Rule| matches(&rule.schema, &schema) && matches(&rule.table, &table);
        self.rules.iter().rev().find(hit).is_some_and(|rule| rule.keep)
    }
}

fn fold(name: &str) -> Vec<char> {
    name.chars().flat_map(char::to_lowercase).collect()
}

fn parse_rule(text: &str) -> Result<Rule, RuleError> {
    let error = |problem| RuleError {
        rule: text.to_owned(),
        problem,
    };
    let trimmed = text.trim();
    let (keep, body) = trimmed
        .strip_prefix('!')
        .map_or((true, trimmed), |rest| (false, rest));
    let mut chars = body.chars().peekable();
    let schema = parse_part(&mut chars).map_err(error)?;
    if chars.next() != Some('.') {
        return Err(error("write it as \"schema.table\", for example \"shop.*\""));
    }
    let table = parse_part(&mut chars).map_err(error)?;
    if chars.next().is_some() {
        return Err(error(
            "too many dots: quote a name that contains one, for example \"shop.`a.b`\"",
        ));
    }
    Ok(Rule { keep, schema, table })
}

fn parse_part(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Pattern, &'static str> {
    let mut tokens = Pattern::new();
    while let Some(&next) = chars.peek() {
        if next == '.' {
            break;
        }
        chars.next();
        match next {
            '*' => tokens.push(Token::Many),
            '?' => tokens.push(Token::One),
            '[' => tokens.push(parse_class(chars)?),
            '`' => loop {
                match chars.next() {
                    None => return Err("a backquote is not closed"),
                    Some('`') if chars.peek() != Some(&'`') => break,
                    Some('`') => {
                        chars.next();
                        tokens.push(Token::Char('`'));
                    }
                    Some(other) => tokens.extend(other.to_lowercase().map(Token::Char)),
                }
            },
            '!' | ']' | '/' | '\\' | '"' | '\'' | ',' => {
                return Err("a name with punctuation must stand in backquotes");
            }
            other if other.is_whitespace() => return Err("a name with blanks must stand in backquotes"),
            other => tokens.extend(other.to_lowercase().map(Token::Char)),
        }
    }
    if tokens.is_empty() {
        Err("the schema or the table is missing: use \"*\" for any")
    } else {
        Ok(tokens)
    }
}

fn parse_class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, &'static str> {
    const OPEN: &str = "a class is not closed: write it like \"[a-z]\"";
    let not = chars.next_if_eq(&'!').is_some();
    let mut ranges = Vec::new();
    loop {
        let first = match chars.next().ok_or(OPEN)? {
            ']' if ranges.is_empty() => return Err("a class is empty: write it like \"[a-z]\""),
            ']' => return Ok(Token::Class { not, ranges }),
            other => other.to_ascii_lowercase(),
        };
        let mut last = first;
        if chars.next_if_eq(&'-').is_some() {
            last = chars
                .next()
                .filter(|end| *end != ']')
                .ok_or(OPEN)?
                .to_ascii_lowercase();
        }
        if last < first {
            return Err("a class runs backwards: write it like \"[a-z]\"");
        }
        ranges.push((first, last));
    }
}

/// Glob match in O(pattern × name) at worst: on a mismatch only the last `*` takes one character more.
fn matches(pattern: &[Token], name: &[char]) -> bool {
    let (mut at_token, mut at_char) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(&character) = name.get(at_char) {
        match pattern.get(at_token) {
            Some(Token::Many) => {
                retry = Some((at_token + 1, at_char));
                at_token += 1;
                continue;
            }
            Some(token) if accepts(token, character) => {
                at_token += 1;
                at_char += 1;
                continue;
            }
            _ => {}
        }
        match retry {
            None => return false,
            Some((token, taken)) => {
                retry = Some((token, taken + 1));
                (at_token, at_char) = (token, taken + 1);
            }
        }
    }
    pattern.iter().skip(at_token).all(|token| *token == Token::Many)
}

fn accepts(token: &Token, character: char) -> bool {
    match token {
        Token::Char(expected) => *expected == character,
        Token::One => true,
        Token::Many => false,
        Token::Class { not, ranges } => {
            ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&character))
                != *not
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn chosen(rules: &[&str], table: &str) -> bool {
        let (schema, table) = table.split_once('.').unwrap();
        TableRules::parse(rules).unwrap().matches(schema, table)
    }

    #[test]
    fn no_rules_choose_every_table() {
        assert!(chosen(&[], "a.b"));
    }

    #[test]
    fn the_last_matching_rule_decides() {
        let rules = ["shop.*", "!shop.tmp_*", "shop.tmp_keep"];
        assert!(chosen(&rules, "shop.orders"));
        assert!(!chosen(&rules, "shop.tmp_1"));
        assert!(chosen(&rules, "shop.tmp_keep"));
        assert!(!chosen(&rules, "crm.orders"));
    }

    #[test]
    fn wildcards_classes_and_quotes() {
        assert!(chosen(&["*.t?"], "a.t1"));
        assert!(!chosen(&["*.t?"], "a.t12"));
        assert!(chosen(&["db[0-9].t*e*s"], "db7.types"));
        assert!(!chosen(&["db[!0-9].*"], "db7.types"));
        assert!(chosen(&["shop.`a*b`"], "shop.a*b"));
        assert!(!chosen(&["shop.`a*b`"], "shop.axb"));
        assert!(chosen(&["SHOP.Orders"], "shop.ORDERS"));
    }

    #[test]
    fn bad_rules_say_why() {
        for bad in [
            "", "orders", "a.b.c", ".t", "a.", "a b.c", "a.`b", "a.[", "a.[]", "a.[z-a]", "a!.b", "/x/.y",
        ] {
            let error = TableRules::parse(&[bad]).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("table rule {bad:?}: ")),
                "{error}"
            );
        }
    }
}
