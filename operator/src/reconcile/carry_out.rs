//! From the spec in force to objects: plan and apply, and what to do if the API server refuses.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use tidemark_crds::ChangefeedSpec;

use crate::apply::{To, apply};
use crate::judge::{Stall, StallReason, Verdict};
use crate::observe::Observed;
use crate::plan::{Identity, Manifest, PlanError, peers_secret, plan};
use crate::{Context, Error};

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The spec in force.
    pub(super) spec: Option<ChangefeedSpec>,
    /// What a person has to mend.
    pub(super) stall: Option<Stall>,
    /// The StatefulSet as it is now.
    pub(super) set: Option<StatefulSet>,
    /// Whether something was deleted, or has to be later.
    pub(super) is_untidy: bool,
}

/// Applies the spec that was judged good; if the API server refuses it, the one before.
pub(super) async fn carry_out(
    context: &Context,
    identity: &Identity,
    verdict: Verdict,
    fallback: Option<ChangefeedSpec>,
    observed: &Observed,
    now: Timestamp,
) -> Result<Outcome, Error> {
    let mut stall = verdict.stall;
    let mut candidates: Vec<_> = verdict.spec.into_iter().collect();
    candidates.extend(fallback.filter(|fallback| candidates.first() != Some(fallback)));
    let last = candidates.last().cloned();
    for spec in candidates {
        match attempt(context, identity, &spec, observed, now).await {
            Ok((set, is_untidy)) => {
                return Ok(Outcome {
                    spec: Some(spec),
                    stall,
                    set,
                    is_untidy,
                });
            }
            Err(error) => match refusal(&error) {
                Some(refusal) => stall = stall.or(Some(refusal)),
                None => return Err(error),
            },
        }
    }
    let set = observed.existing.set.clone();
    Ok(Outcome {
        // What ran before runs on, even if it could not be applied once more.
        spec: last.filter(|_| set.is_some()),
        stall,
        set,
        is_untidy: false,
    })
}

async fn attempt(
    context: &Context,
    identity: &Identity,
    spec: &ChangefeedSpec,
    observed: &Observed,
    now: Timestamp,
) -> Result<(Option<StatefulSet>, bool), Error> {
    let existing = &observed.existing;
    let plan = plan(identity, spec, &context.image, existing, now)?;
    tracing::debug!(%plan, "planned");
    let namespace = identity.namespace.as_str();
    if !observed.has_peers {
        let secret = Manifest::of(&peers_secret(identity)?).map_err(PlanError::from)?;
        To { context, namespace }.create(&secret).await?;
    }
    let set = apply(context, namespace, &plan, existing).await?;
    let beyond = existing.leases.len() > usize::try_from(spec.workers.replicas).unwrap_or(usize::MAX) + 1;
    let untidy = !plan.delete.is_empty() || beyond || existing.config_maps.len() > 1;
    Ok((set, untidy))
}

/// Errors that trying again doesn't mend.
fn refusal(error: &Error) -> Option<Stall> {
    if let Error::Plan(PlanError::Resources(_) | PlanError::PodTemplate(_)) = error {
        return Some(Stall::new(StallReason::InvalidSpec, error.to_string()));
    }
    let answer = error.answer()?;
    let Error::Api { what, .. } = error else {
        return None;
    };
    let message = format!("{what}: {}", answer.message);
    match answer.code {
        400 | 422 if what.contains("StatefulSet") => Some(Stall::new(StallReason::InvalidSpec, message)),
        400 | 403 | 422 => Some(Stall::new(StallReason::ApplyRefused, message)),
        _ => None,
    }
}
