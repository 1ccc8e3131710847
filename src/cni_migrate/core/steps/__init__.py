"""The steps, by name: small, idempotent moves inside an event or a phase. `registry` finds them."""
