import GRDB
import RegistryAccess
import SignedPolicy
import Synchronization

/// When devices were heard of last, in memory: a poll writes nothing.
///
/// It goes to the database every minute; what a crash takes is that minute.
final class LastSeen: Sendable {
    private struct Key: Hashable {
        let organization: String
        let device: String
    }

    private let times = Mutex<[Key: Instant]>([:])

    /// Notes that a device is there.
    ///
    /// - Parameters:
    ///   - device: which.
    ///   - organization: where.
    ///   - now: the time.
    func note(_ device: String, in organization: String, at now: Instant) {
        times.withLock { $0[Key(organization: organization, device: device)] = now }
    }

    /// When a device was heard of, if that is not in the database yet.
    ///
    /// - Parameters:
    ///   - device: which.
    ///   - organization: where.
    /// - Returns: the time.
    func time(of device: String, in organization: String) -> Instant? {
        times.withLock { $0[Key(organization: organization, device: device)] }
    }

    /// Writes all of it to the database, in one transaction.
    ///
    /// - Parameter store: the database.
    /// - Throws: what SQLite says; nothing is forgotten then.
    func write(to store: Store) async throws {
        let written = times.withLock { $0 }
        guard !written.isEmpty else { return }
        try await store.database.write { database in
            let statement = try database.makeStatement(
                sql: "UPDATE device SET lastSeen = ? WHERE organization = ? AND id = ?"
            )
            for (key, time) in written {
                try statement.execute(arguments: [time.seconds, key.organization, key.device])
            }
        }
        // What came meanwhile stays for the next time.
        times.withLock { times in
            for (key, time) in written where times[key] == time { times[key] = nil }
        }
    }
}
