use tidemark_model::Ts;

/// The lowest of many timestamps that only rise: a tournament tree over numbered slots.
///
/// A slot's rise climbs only as far as it changes a minimum, so raising all slots one after another costs about
/// two steps per slot, whatever their number; a single rise costs at most log2(slots).
#[derive(Clone, Debug)]
pub struct Frontier {
    /// `tree[1]` is the root, `tree[capacity + slot]` a slot; unused slots hold [`Ts::MAX`].
    tree: Vec<u64>,
    capacity: usize,
    free: Vec<u32>,
    used: usize,
}

impl Default for Frontier {
    fn default() -> Self {
        Self {
            tree: vec![u64::MAX; 2],
            capacity: 1,
            free: vec![0],
            used: 0,
        }
    }
}

impl Frontier {
    /// Takes a slot that begins at the given ts.
    pub fn insert(&mut self, ts: Ts) -> u32 {
        if self.free.is_empty() {
            self.grow();
        }
        // `grow` has just filled the list.
        let slot = self.free.pop().unwrap_or_default();
        self.used += 1;
        self.set(slot, ts.0);
        slot
    }

    /// Gives a slot back; gives its last ts.
    pub fn remove(&mut self, slot: u32) -> Ts {
        let ts = self.get(slot);
        self.set(slot, u64::MAX);
        self.free.push(slot);
        self.used -= 1;
        ts
    }

    /// Raises a slot; a lower ts changes nothing. Gives whether the slot rose.
    pub fn raise(&mut self, slot: u32, ts: Ts) -> bool {
        let known = self.get(slot).0;
        let rises = known != u64::MAX && known < ts.0 && ts != Ts::MAX;
        if rises {
            self.set(slot, ts.0);
        }
        rises
    }

    /// The ts of a slot.
    pub fn get(&self, slot: u32) -> Ts {
        Ts(self.tree[self.capacity + slot as usize])
    }

    /// The lowest ts of all slots; [`Ts::MAX`] without any.
    pub fn min(&self) -> Ts {
        Ts(self.tree[1])
    }

    /// Slots in use.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether no slot is in use.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Slots below the given ts, at most `limit`; visits only the parts of the tree that hold any.
    pub fn below(&self, ts: Ts, limit: usize) -> Vec<u32> {
        let mut found = Vec::new();
        let mut nodes = vec![1];
        while let Some(node) = nodes.pop() {
            if self.tree[node] >= ts.0 || found.len() >= limit {
                continue;
            }
            if node >= self.capacity {
                found.extend(u32::try_from(node - self.capacity));
            } else {
                // The lower half goes last on the stack, so it is visited first.
                let (left, right) = (2 * node, 2 * node + 1);
                let lower_left = self.tree[left] <= self.tree[right];
                nodes.extend(if lower_left { [right, left] } else { [left, right] });
            }
        }
        found
    }

    fn set(&mut self, slot: u32, ts: u64) {
        let mut node = self.capacity + slot as usize;
        self.tree[node] = ts;
        while node > 1 {
            let min = self.tree[node].min(self.tree[node ^ 1]);
            node /= 2;
            if self.tree[node] == min {
                break;
            }
            self.tree[node] = min;
        }
    }

    fn grow(&mut self) {
        let old = self.capacity;
        self.capacity *= 2;
        let leaves = &self.tree[old..];
        let mut tree = vec![u64::MAX; 2 * self.capacity];
        tree[self.capacity..self.capacity + old].copy_from_slice(leaves);
        for node in (1..self.capacity).rev() {
            tree[node] = tree[2 * node].min(tree[2 * node + 1]);
        }
        self.tree = tree;
        let fresh = u32::try_from(old).unwrap_or(u32::MAX)..u32::try_from(self.capacity).unwrap_or(u32::MAX);
        self.free.extend(fresh.rev());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(usize),
        Raise(usize, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u64..100).prop_map(Step::Insert),
            any::<usize>().prop_map(Step::Remove),
            (any::<usize>(), 0_u64..200).prop_map(|(at, ts)| Step::Raise(at, ts)),
        ]
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_map(steps in prop::collection::vec(step(), 0..200)) {
            let mut frontier = Frontier::default();
            let mut model: HashMap<u32, u64> = HashMap::new();
            let mut slots: Vec<u32> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(ts) => {
                        let slot = frontier.insert(Ts(ts));
                        prop_assert!(model.insert(slot, ts).is_none(), "slot {slot} was in use");
                        slots.push(slot);
                    }
                    Step::Remove(at) if !slots.is_empty() => {
                        let slot = slots.swap_remove(at % slots.len());
                        prop_assert_eq!(Some(frontier.remove(slot).0), model.remove(&slot));
                    }
                    Step::Raise(at, ts) if !slots.is_empty() => {
                        let slot = slots[at % slots.len()];
                        let known = model.get_mut(&slot).unwrap();
                        prop_assert_eq!(frontier.raise(slot, Ts(ts)), ts > *known);
                        *known = ts.max(*known);
                    }
                    _ => {}
                }
                prop_assert_eq!(frontier.min().0, model.values().min().copied().unwrap_or(u64::MAX));
                prop_assert_eq!(frontier.len(), model.len());
                let mut below = frontier.below(Ts(50), usize::MAX);
                below.sort_unstable();
                let mut want: Vec<u32> = model.iter().filter(|(_, ts)| **ts < 50).map(|(slot, _)| *slot).collect();
                want.sort_unstable();
                prop_assert_eq!(below, want);
            }
        }
    }

    #[test]
    fn the_lowest_slots_are_found_first() {
        let mut frontier = Frontier::default();
        let slots: Vec<u32> = (0..1000).map(|ts| frontier.insert(Ts(1000 - ts))).collect();
        assert_eq!(frontier.below(Ts(500), 1), [slots[999]]);
    }
}
