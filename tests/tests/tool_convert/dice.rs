//! Chance.

use serde_json::Value;

/// Random numbers that are the same in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    pub fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    pub fn some(&mut self, most: usize, make: impl Fn(&mut Self) -> Value) -> Vec<Value> {
        (0..=self.below(most)).map(|_| make(self)).collect()
    }
}
