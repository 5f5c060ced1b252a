use std::fmt;
use std::time::Duration;

/// Something measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The step that it was measured in.
    pub step: &'static str,
    /// What was measured.
    pub what: String,
    /// The value.
    pub value: Value,
    /// What it should stay below.
    pub aim: Option<Duration>,
}

/// A time, or words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A time.
    Time(Duration),
    /// Words.
    Text(String),
}

/// All that was measured, printed as a table.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// Adds a time, with what it should stay below.
    pub fn time(
        &mut self,
        step: &'static str,
        what: impl Into<String>,
        time: Duration,
        aim: Option<Duration>,
    ) {
        self.0.push(Figure {
            step,
            what: what.into(),
            value: Value::Time(time),
            aim,
        });
    }

    /// Adds words.
    pub fn text(&mut self, step: &'static str, what: impl Into<String>, text: impl Into<String>) {
        self.0.push(Figure {
            step,
            what: what.into(),
            value: Value::Text(text.into()),
            aim: None,
        });
    }

    /// Times above their aims.
    pub fn missed(&self) -> impl Iterator<Item = &Figure> {
        self.0.iter().filter(|figure| figure.is_above_aim())
    }

    /// Everything, in order.
    pub fn all(&self) -> &[Figure] {
        &self.0
    }
}

impl Figure {
    fn is_above_aim(&self) -> bool {
        match (&self.value, self.aim) {
            (Value::Time(time), Some(aim)) => *time > aim,
            _ => false,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = match &self.value {
            Value::Time(time) => format!("{:.2} s", time.as_secs_f64()),
            Value::Text(text) => text.clone(),
        };
        write!(f, "{:<14} {:<66} {value:>10}", self.step, self.what)?;
        if let Some(aim) = self.aim {
            let word = if self.is_above_aim() { "ABOVE" } else { "within" };
            write!(f, "   {word} {:.0} s", aim.as_secs_f64())?;
        }
        Ok(())
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for figure in &self.0 {
            writeln!(f, "{figure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_above_its_aim_is_missed() {
        let mut figures = Figures::default();
        let seconds = Duration::from_secs;
        figures.time("kill", "back", seconds(4), Some(seconds(3)));
        figures.time("kill", "back", seconds(2), Some(seconds(3)));
        figures.time("kill", "back", seconds(9), None);
        figures.text("kill", "rows", "7");
        assert_eq!(figures.missed().count(), 1);
        let text = figures.to_string();
        assert!(text.contains("4.00 s   ABOVE 3 s"), "{text}");
        assert_eq!(text.lines().count(), 4);
    }
}
