import Testing

/// Everything with real engines.
///
/// One after the other: each test has an engine and registries of its own, and the machine has two cores.
@Suite(.serialized, .timeLimit(.minutes(5)))
enum EndToEnd {}
