use serde_json::{Value, json};

/// Makes a feed's YAML (JSON is YAML too).
#[derive(Clone, Debug)]
pub struct Feed {
    /// The resource's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// PD's urls.
    pub pd: Vec<String>,
    /// The sink, as under `spec.sink`.
    pub sink: Value,
    /// Table rules.
    pub tables: Vec<String>,
    /// Where to begin; `None` is now.
    pub start_ts: Option<u64>,
    /// Other fields of the spec.
    pub more: Value,
}

impl Feed {
    /// A feed of all tables from now on.
    pub fn new(pd: Vec<String>, sink: Value) -> Self {
        Self {
            name: "e2e".into(),
            namespace: "tests".into(),
            pd,
            sink,
            tables: Vec::new(),
            start_ts: None,
            more: json!({}),
        }
    }

    /// To a Kafka topic for each table, beginning with `prefix`.
    pub fn to_kafka(pd: Vec<String>, brokers: &str, prefix: &str) -> Self {
        let brokers: Vec<_> = brokers.split(',').collect();
        Self::new(
            pd,
            json!({"kafka": {
                "brokers": brokers,
                "topic": format!("{prefix}.{{schema}}.{{table}}"),
                "watermarkInterval": "200ms",
                "maxMessageBytes": "3Mi",
            }}),
        )
    }

    /// To files below a folder or bucket.
    pub fn to_storage(pd: Vec<String>, url: &str, format: &str) -> Self {
        Self::new(
            pd,
            json!({"storage": {"url": url, "format": format, "flushInterval": "300ms"}}),
        )
    }

    /// How many workers it asks for.
    pub fn replicas(&self) -> u64 {
        self.more["workers"]["replicas"].as_u64().unwrap_or(1)
    }

    /// The document as text.
    pub fn yaml(&self) -> String {
        format!("{:#}\n", self.document())
    }

    /// The document.
    pub fn document(&self) -> Value {
        let mut spec = json!({
            "source": {"pd": self.pd},
            "sink": self.sink,
        });
        if !self.tables.is_empty() {
            spec["tables"] = json!(self.tables);
        }
        if let Some(ts) = self.start_ts {
            spec["start"] = json!({"ts": ts.to_string()});
        }
        if let (Some(spec), Some(more)) = (spec.as_object_mut(), self.more.as_object()) {
            for (field, value) in more {
                match (
                    spec.get_mut(field).and_then(Value::as_object_mut),
                    value.as_object(),
                ) {
                    (Some(present), Some(extra)) => present.extend(extra.clone()),
                    _ => {
                        spec.insert(field.clone(), value.clone());
                    }
                }
            }
        }
        json!({
            "apiVersion": "tidemark.io/v1alpha1",
            "kind": "Changefeed",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": spec,
        })
    }
}
