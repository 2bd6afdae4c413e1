import GRDB
import HTTPTypes
import Synchronization

/// What is wrong with where the server keeps its data, if it is something that its administrator has to see to.
enum StorageFault: Error, Hashable, Sendable {
    /// There is no space left.
    case full
    /// The database is not what was written.
    case damaged(String)
    /// The database is of a newer version of the program.
    case newer
    /// The database cannot be read or written.
    case unusable(String)
    /// Others have written for too long.
    case busy

    /// What SQLite says in our words; `nil` if it is no fault of the storage.
    ///
    /// - Parameter error: what SQLite says.
    init?(_ error: DatabaseError) {
        // In words, for what SQLite says besides may hold what somebody has sent.
        let words = error.message ?? "\(error.extendedResultCode)"
        switch error.resultCode {
        case .SQLITE_FULL: self = .full
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: self = .damaged(words)
        case .SQLITE_BUSY, .SQLITE_LOCKED: self = .busy
        case .SQLITE_IOERR where error.extendedResultCode == .SQLITE_IOERR_SHMSIZE: self = .full
        case .SQLITE_IOERR, .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_PROTOCOL, .SQLITE_NOLFS:
            self = .unusable(words)
        default: return nil
        }
    }

    /// What is wrong and what to do, for who starts the program.
    ///
    /// - Parameter data: the server's directory.
    /// - Returns: a sentence.
    func description(of data: DataDirectory) -> String {
        switch self {
        case .full: "there is no space left for \"\(data.database)\"; make space, and start again"
        case .damaged(let words): data.damaged("is damaged: \(words)")
        case .newer: "\"\(data.database)\" is of a newer docker-ram-server; install that"
        case .unusable(let words):
            "cannot use \"\(data.database)\": \(words); look at its permissions, and at those of the files beside it"
        case .busy: "another program writes to \"\(data.database)\"; stop it first"
        }
    }

    /// The answer to who asked for something.
    var problem: Problem {
        switch self {
        case .full:
            return Problem(
                HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage"),
                .storageFull,
                "the server has no space left, so nothing of this was done",
                hint: "make space where it keeps its data; it goes on by itself"
            )
        case .damaged, .newer:
            return Problem(
                .serviceUnavailable,
                .storageFault,
                "the server's database is damaged",
                hint: "stop the server and restore a copy: docker-ram-server restore"
            )
        case .unusable:
            return Problem(
                .serviceUnavailable,
                .storageFault,
                "the server cannot use its database",
                hint: "its log says why"
            )
        case .busy:
            var problem = Problem(.serviceUnavailable, .busy, "the server has too much to write", hint: "try again")
            problem.headers[.retryAfter] = "1"
            return problem
        }
    }
}

/// Whether the database has been found damaged since the server began; what is found once is not forgotten.
final class StorageHealth: Sendable {
    private let found = Mutex<String?>(nil)

    /// What is wrong.
    var damage: String? { found.withLock { $0 } }

    /// Takes down a damage.
    ///
    /// - Parameter words: what is wrong.
    /// - Returns: whether it is the first.
    @discardableResult
    func note(_ words: String) -> Bool {
        found.withLock { found in
            guard found == nil else { return false }
            found = words
            return true
        }
    }
}
