-- Runs deploy/argocd/health.lua on a table of states: lua5.4 health_test.lua ../../deploy/argocd/health.lua
-- Argo CD gives the script the resource as the global `obj`.

local script = assert(arg[1], "usage: health_test.lua health.lua")

local function condition(kind, status, reason, message)
  return { type = kind, status = status, reason = reason, message = message or "", observedGeneration = 2 }
end

local function feed(status, metadata)
  local made = { name = "orders", namespace = "shop", generation = 2 }
  for key, value in pairs(metadata or {}) do
    made[key] = value
  end
  return { apiVersion = "tidemark.io/v1alpha1", kind = "Changefeed", metadata = made, spec = {}, status = status }
end

local function seen(conditions)
  return {
    observedGeneration = 2,
    conditions = conditions,
    -- Larger than 2^53, and odd: as a number it would change.
    checkpointTs = "461234567890123457",
    resolvedTs = "461234567890123999",
  }
end

-- The conditions are those that operator/src/conditions makes.
local cases = {
  { "no status yet", feed(nil), "Progressing", "Waiting for the operator" },
  { "no conditions yet", feed({ observedGeneration = 2 }), "Progressing", "Waiting for the operator" },
  { "no Ready yet", feed(seen({})), "Progressing", "Waiting for the operator" },
  {
    "starting",
    feed(seen({ condition("Ready", "False", "Starting", "0 of 2 workers are ready"), condition("Reconciling", "True", "Starting", "0 of 2 workers are ready") })),
    "Progressing", "Starting: 0 of 2 workers are ready",
  },
  { "replicating", feed(seen({ condition("Ready", "True", "Replicating", "2 of 2 workers are ready") })), "Healthy", "Replicating: 2 of 2 workers are ready" },
  { "replicating without a message", feed(seen({ condition("Ready", "True", "Replicating") })), "Healthy", "Replicating" },
  {
    "replicating while workers are replaced",
    feed(seen({ condition("Ready", "True", "Replicating"), condition("Reconciling", "True", "RollingUpdate", "1 of 3 workers are ready") })),
    "Progressing", "RollingUpdate: 1 of 3 workers are ready",
  },
  { "retrying for a moment", feed(seen({ condition("Ready", "True", "Retrying", "kafka:9092 doesn't answer") })), "Healthy", "Retrying: kafka:9092 doesn't answer" },
  { "retrying", feed(seen({ condition("Ready", "False", "Retrying", "kafka:9092 doesn't answer") })), "Progressing", "Retrying: kafka:9092 doesn't answer" },
  {
    "halted",
    feed(seen({ condition("Ready", "False", "Halted", "history is gone"), condition("Stalled", "True", "Halted", "history is gone below 461234567890123457") })),
    "Degraded", "Halted: history is gone below 461234567890123457",
  },
  {
    "an invalid edit while the last spec runs on",
    feed(seen({ condition("Ready", "True", "Replicating"), condition("Stalled", "True", "InvalidSpec", "spec.tables: empty rule") })),
    "Degraded", "InvalidSpec: spec.tables: empty rule",
  },
  {
    "stalled goes before reconciling",
    feed(seen({ condition("Ready", "True", "Replicating"), condition("Reconciling", "True", "RollingUpdate"), condition("Stalled", "True", "InvalidSpec", "x") })),
    "Degraded", "InvalidSpec: x",
  },
  {
    "a condition that is False says nothing",
    feed(seen({ condition("Stalled", "False", "Halted"), condition("Reconciling", "False", "Starting"), condition("Ready", "True", "Replicating") })),
    "Healthy", "Replicating",
  },
  {
    "pausing",
    feed(seen({ condition("Ready", "True", "Paused"), condition("Reconciling", "True", "Draining", "1 workers end"), condition("Paused", "True", "UserRequest") })),
    "Progressing", "Draining: 1 workers end",
  },
  {
    "paused",
    feed(seen({ condition("Ready", "True", "Paused", "no workers"), condition("Paused", "True", "UserRequest", "spec.state is Paused") })),
    "Suspended", "UserRequest: spec.state is Paused",
  },
  {
    "paused for too long",
    feed(seen({ condition("Ready", "True", "Paused"), condition("Stalled", "True", "SafepointLost", "gone"), condition("Paused", "True", "UserRequest") })),
    "Degraded", "SafepointLost: gone",
  },
  { "stopped", feed(seen({ condition("Ready", "True", "Stopped", "no workers") })), "Suspended", "Stopped: no workers" },
  {
    "deleting",
    feed(seen({ condition("Ready", "False", "Deleting", "2 workers end"), condition("Reconciling", "True", "Deleting", "2 workers end") }), { deletionTimestamp = "2026-11-25T10:00:00Z", generation = 3 }),
    "Progressing", "Being deleted",
  },
  { "deleted before the operator saw it", feed(nil, { deletionTimestamp = "2026-11-25T10:00:00Z" }), "Progressing", "Being deleted" },
  {
    "deleting, and PD is away",
    feed(seen({ condition("Ready", "False", "Deleting"), condition("Stalled", "True", "CleanupFailed", "PD is away") }), { deletionTimestamp = "2026-11-25T10:00:00Z" }),
    "Progressing", "CleanupFailed: PD is away",
  },
  {
    "observedGeneration is stale",
    feed(seen({ condition("Ready", "True", "Replicating") }), { generation = 3 }),
    "Progressing", "Waiting for the operator to see the last change",
  },
  {
    "a stall of an older spec",
    feed(seen({ condition("Ready", "False", "InvalidSpec"), condition("Stalled", "True", "InvalidSpec") }), { generation = 3 }),
    "Progressing", "Waiting for the operator to see the last change",
  },
  {
    "observedGeneration is missing",
    feed({ conditions = { condition("Ready", "True", "Replicating") } }),
    "Progressing", "Waiting for the operator to see the last change",
  },
  {
    "hands off, and the spec has moved on",
    feed(seen({ condition("Ready", "True", "Replicating"), condition("ReconciliationPaused", "True", "AnnotationSet", "remove the annotation") }), { generation = 3 }),
    "Suspended", "AnnotationSet: remove the annotation",
  },
}

local failed = 0
for _, case in ipairs(cases) do
  local name, object, status, message = case[1], case[2], case[3], case[4]
  obj = object
  local health = dofile(script)
  if health.status ~= status or health.message ~= message then
    failed = failed + 1
    print(string.format("%s: %s %q, expected %s %q", name, health.status, health.message, status, message))
  end
  if object.status ~= nil and object.status.checkpointTs ~= nil then
    assert(object.status.checkpointTs == "461234567890123457", name .. ": the script changed the resource")
  end
end
print(string.format("%d states, %d wrong", #cases, failed))
os.exit(failed == 0 and 0 or 1)
