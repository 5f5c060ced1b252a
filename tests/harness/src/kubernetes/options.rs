/// What an own control plane is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlaneOptions {
    /// Identities besides the administrator: user name and groups. They may do what RBAC grants them.
    pub users: Vec<(String, Vec<String>)>,
    /// Whether the controller manager runs: without it nobody makes pods of a StatefulSet, or deletes what an owner
    /// reference binds.
    pub controllers: bool,
    /// More arguments of the API server, like `--max-requests-inflight=5`.
    pub api_server_args: Vec<String>,
}

impl Default for ControlPlaneOptions {
    fn default() -> Self {
        Self {
            users: Vec::new(),
            controllers: true,
            api_server_args: Vec::new(),
        }
    }
}

impl ControlPlaneOptions {
    /// Adds a user, for [`ControlPlane::kubeconfig_for`](crate::ControlPlane::kubeconfig_for).
    pub fn user(mut self, name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        self.users.push((name.to_owned(), groups));
        self
    }

    /// Whether a cluster that others started has all that is asked for. That it has controllers does no harm.
    pub(super) fn fit_any_cluster(&self) -> bool {
        self.users.is_empty() && self.api_server_args.is_empty()
    }

    /// Leaves the controller manager out.
    pub fn without_controllers(mut self) -> Self {
        self.controllers = false;
        self
    }
}
