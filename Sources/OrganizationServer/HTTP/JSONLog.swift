// Where `timespec` belongs to, according to the compiler, as soon as anything has loaded it.
import CDispatch
import Foundation
import Logging
import RegistryAccess

/// How the log is written.
enum LogFormat: String, CaseIterable, Sendable {
    /// Lines for people.
    case text
    /// A JSON object on each line, for programs.
    case json
}

/// Writes each entry of the log as a JSON object on a line of its own.
///
/// `time`, `level` and `message` come first, then what the entry is about under its own names, as texts.
struct JSONLog: LogHandler {
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]
    private let write: @Sendable (String) -> Void

    /// A log on standard error.
    init() {
        // One write for each line, so that lines of several threads do not mix.
        self.init { FileHandle.standardError.write(Data($0.utf8)) }
    }

    /// A log that goes elsewhere.
    ///
    /// - Parameter write: gets each line with its end.
    init(write: @escaping @Sendable (String) -> Void) {
        self.write = write
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        let first = ["time": Self.time(), "level": event.level.rawValue, "message": "\(event.message)"]
        var members = ["time", "level", "message"].map { JSONMember($0, .text(first[$0])) }
        for (name, value) in all.sorted(by: { $0.key < $1.key }) where first[name] == nil {
            members.append(JSONMember(name, .string("\(value)")))
        }
        write(JSONValue.object(members).text() + "\n")
    }

    /// The time in UTC with milliseconds: `2026-11-25T13:45:10.125Z`.
    private static func time() -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let milliseconds = String(time.tv_nsec / 1_000_000)
        let second = Instant(seconds: Int64(time.tv_sec)).description.dropLast()
        return "\(second).\(String(repeating: "0", count: 3 - milliseconds.count))\(milliseconds)Z"
    }
}
