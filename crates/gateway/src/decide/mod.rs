//! Here or there: policy, capability, budget, local attempt, escalation, in this order.
