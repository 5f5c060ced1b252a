use crate::settings::OldImage;
use crate::truth::Columns;

/// How an UPDATE's old image differs from the row before.
pub(crate) fn wrong_old_image(
    kind: OldImage,
    old: Option<&Columns>,
    truth: Option<&Columns>,
    row: &Columns,
) -> Option<String> {
    let truth = truth.filter(|truth| !truth.is_empty())?;
    match (kind, old) {
        (OldImage::Absent, _) => None,
        (_, None) => Some("the old image is missing".to_owned()),
        (OldImage::Full, Some(old)) => difference("old image", old, Some(truth), true),
        (OldImage::Changed, Some(old)) => {
            let unsaid = truth
                .iter()
                .find(|(column, value)| row.get(*column) != Some(*value) && !old.contains_key(*column));
            match unsaid {
                Some((column, _)) => Some(format!("the old image lacks {column}, which changed")),
                None => difference("old image", old, Some(truth), false),
            }
        }
    }
}

/// How the columns differ from the truth's; `all` asks for every column.
pub(crate) fn difference(image: &str, shown: &Columns, truth: Option<&Columns>, all: bool) -> Option<String> {
    let truth = truth.filter(|truth| !truth.is_empty())?;
    for (column, value) in shown {
        match truth.get(column) {
            None => return Some(format!("{image}: column {column} is not in the truth")),
            Some(expected) if expected != value => {
                return Some(format!(
                    "{image}: {column} is {}, the truth is {}",
                    text(value),
                    text(expected)
                ));
            }
            Some(_) => {}
        }
    }
    if !all {
        return None;
    }
    let missing = truth.keys().find(|column| !shown.contains_key(*column))?;
    Some(format!("{image}: column {missing} is missing"))
}

fn text(value: &Option<String>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(value) if value.chars().count() <= 60 => format!("{value:?}"),
        Some(value) => format!(
            "{:?}... ({} chars)",
            value.chars().take(60).collect::<String>(),
            value.chars().count()
        ),
    }
}
