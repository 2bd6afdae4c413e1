import GRDB

/// Measures how long SQLite takes to bring each transaction to the disk.
///
/// The time is that of the commit alone, which is the write and its `fsync`: it says how the disk does, whatever a
/// transaction has to compute.
///
/// GRDB calls it on the one thread that writes, one transaction after another.
final class CommitTimes: TransactionObserver {
    private let metrics: Metrics
    private var start: ContinuousClock.Instant?

    /// Measures into figures.
    init(_ metrics: Metrics) {
        self.metrics = metrics
    }

    func observes(eventsOfKind eventKind: DatabaseEventKind) -> Bool { false }

    func databaseDidChange(with event: DatabaseEvent) {}

    func databaseWillCommit() { start = .now }

    func databaseDidCommit(_ database: Database) {
        guard let start else { return }
        metrics.committed(seconds: (ContinuousClock.now - start) / .seconds(1))
        self.start = nil
    }

    func databaseDidRollback(_ database: Database) { start = nil }
}
