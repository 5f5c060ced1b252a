-- Health of a Changefeed for Argo CD: kstatus' rules, and Suspended where data rests because the spec says so.
-- Nothing here reckons with a ts: they are strings, and as numbers they would be rounded.

local function health(status, message)
  return { status = status, message = message or "" }
end

local conditions = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    conditions[condition.type] = condition
  end
end

local function is_true(name)
  return conditions[name] ~= nil and conditions[name].status == "True"
end

local function message(name)
  local condition = conditions[name]
  if condition.message ~= nil and condition.message ~= "" then
    return condition.reason .. ": " .. condition.message
  end
  return condition.reason
end

if obj.metadata.deletionTimestamp ~= nil then
  if is_true("Stalled") then
    return health("Progressing", message("Stalled"))
  end
  return health("Progressing", "Being deleted")
end

local ready = conditions["Ready"]
if ready == nil then
  return health("Progressing", "Waiting for the operator")
end
if is_true("ReconciliationPaused") then
  return health("Suspended", message("ReconciliationPaused"))
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "Waiting for the operator to see the last change")
end
if is_true("Stalled") then
  return health("Degraded", message("Stalled"))
end
if is_true("Reconciling") then
  return health("Progressing", message("Reconciling"))
end
if is_true("Paused") then
  return health("Suspended", message("Paused"))
end
if ready.status ~= "True" then
  return health("Progressing", message("Ready"))
end
if ready.reason == "Paused" or ready.reason == "Stopped" then
  return health("Suspended", message("Ready"))
end
return health("Healthy", message("Ready"))
