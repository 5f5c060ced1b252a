use std::fmt;

use kube::core::{ApiResource, DynamicObject};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;

/// An object as it is sent to the API server.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// What it is.
    pub resource: ApiResource,
    /// Its name.
    pub name: String,
    /// The whole of it. Not typed, so that fields of a user's pod template that are newer than this program survive.
    pub body: Value,
}

impl Manifest {
    /// The manifest of a typed object.
    pub fn of<K>(object: &K) -> Result<Self, serde_json::Error>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        Ok(Self {
            resource: ApiResource::erase::<K>(&()),
            name: object.name_any(),
            body: serde_json::to_value(object)?,
        })
    }

    /// The object as kube's untyped one.
    pub fn to_dynamic(&self) -> Result<DynamicObject, serde_json::Error> {
        serde_json::from_value(self.body.clone())
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource.kind, self.name)
    }
}
