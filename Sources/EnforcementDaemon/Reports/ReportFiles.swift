import Glibc
import LocalInstallation
import RegistryAccess

/// Reports that the organization's server has not taken yet, each in a file, and how far the decision log is in them.
///
/// A report is written first, and only then that the log has been read up to its end; it is sent only after that. Whoever
/// is killed in between writes the same report again, under the same name, and nobody has seen the first one.
struct ReportFiles: Sendable {
    /// Whether reports are kept of an organization, and how far.
    struct Progress: Hashable, Sendable {
        /// Whose reports these are.
        let organization: String
        /// Makes names that were never used before.
        var series = Self.newSeries()
        /// The number of the next report.
        var next = 1
        /// How far the decision log is in reports.
        var position: LogPosition
        /// How many refusals were lost that no report tells of.
        var lost = 0

        private static func newSeries() -> String {
            let text = String(UInt64.random(in: .min ... .max), radix: 16)
            return String(repeating: "0", count: 16 - text.utf8.count) + text
        }

        /// The name of the next report.
        var nextName: String {
            let digits = "\(next)"
            return String(repeating: "0", count: max(0, 12 - digits.utf8.count)) + digits + "-" + series
        }
    }

    /// A report that waits.
    struct Waiting: Hashable, Sendable {
        /// Its name, by which the server knows it, too.
        let name: String
        /// How long it is, in bytes.
        let size: Int
        /// When it was written, in seconds since 1970.
        let written: Int64
    }

    /// The longest report.
    static let longest = 1 << 20

    /// Where the reports are.
    let directory: String
    private var progressFile: String { "\(directory)/progress" }

    init(_ paths: InstallationPaths) {
        directory = OrganizationFiles(paths).reports
    }

    /// How far we are; `nil` if there is nothing yet, or nothing that could be used.
    ///
    /// - Throws: `FileError` if it cannot be read now, and perhaps later.
    func progress() throws(FileError) -> Progress? {
        let bytes: [UInt8]?
        do throws(FileError) {
            bytes = try Self.read(progressFile, atMost: 64 << 10)
        } catch {
            guard error.isNotFound else { throw error }
            return nil
        }
        guard let bytes,
            let value = try? StrictJSON.parse(bytes, limits: StrictJSON.Limits(bytes: 64 << 10, depth: 2)),
            let organization = value.value(named: "organization")?.text,
            let series = value.value(named: "series")?.text,
            let next = Self.number(value, "next"), let offset = Self.number(value, "offset"),
            let lost = Self.number(value, "lost")
        else { return nil }
        let position = LogPosition(head: value.value(named: "head")?.text, offset: offset)
        return Progress(organization: organization, series: series, next: next, position: position, lost: lost)
    }

    /// Forgets all reports and begins anew.
    func begin(_ progress: Progress) throws(FileError) {
        OrganizationFiles.removeFiles(in: directory)
        try Files.makeDirectory(directory, mode: 0o700)
        try keep(progress)
    }

    /// Keeps how far we are.
    func keep(_ progress: Progress) throws(FileError) {
        let members = [
            JSONMember("organization", .string(progress.organization)),
            JSONMember("series", .string(progress.series)),
            JSONMember("next", .integer(progress.next)),
            JSONMember("head", .text(progress.position.head)),
            JSONMember("offset", .integer(progress.position.offset)),
            JSONMember("lost", .integer(progress.lost)),
        ]
        try Files.replace(progressFile, with: Array(JSONValue.object(members).text().utf8), mode: 0o600)
    }

    /// Writes the next report; it counts once the number of the next one is kept.
    func write(_ report: JSONValue, _ name: String) throws(FileError) {
        try Files.replace("\(directory)/\(name)", with: Array(report.text().utf8), mode: 0o600)
    }

    /// The reports that wait, the oldest first; what a crash left of others is removed.
    func waiting(_ progress: Progress) throws(FileError) -> [Waiting] {
        var waiting: [Waiting] = []
        for name in try Files.names(in: directory) {
            let path = "\(directory)/\(name)"
            guard path != progressFile else { continue }
            // Numbers have the same length, so that names sort as they do.
            guard name.hasSuffix("-\(progress.series)"), name < progress.nextName else {
                unlink(path)
                continue
            }
            var status = stat()
            // What cannot be looked at now stays until it can.
            guard lstat(path, &status) == 0 else { continue }
            waiting.append(Waiting(name: name, size: status.st_size, written: Int64(status.st_mtim.tv_sec)))
        }
        return waiting
    }

    /// What a report says; `nil` if nobody can use the file any more.
    ///
    /// - Throws: `FileError` if it is not there, or cannot be read now, and perhaps later.
    func content(of name: String) throws(FileError) -> JSONValue? {
        try Self.read("\(directory)/\(name)", atMost: Self.longest).flatMap { bytes in
            try? StrictJSON.parse(bytes, limits: StrictJSON.Limits(bytes: Self.longest, depth: 6))
        }
    }

    /// How many refusals are lost with a report: those in it, and those that it says are lost.
    ///
    /// Of one that cannot be read nobody knows, so that it counts as one.
    func loss(with name: String) -> Int {
        guard let content = try? content(of: name) else { return 1 }
        let findings = content.value(named: "status")?.value(named: "findings")?.elements ?? []
        return findings.reduce(content.value(named: "refusals")?.elements?.count ?? 0) { sum, finding in
            sum + (Self.number(finding, "lost") ?? 0)
        }
    }

    /// How many refusals are lost with all reports, where it is not known how far they are.
    func lossWithAll() -> Int {
        let names = (try? Files.names(in: directory)) ?? []
        // What a write has left half done has a dot.
        return names.reduce(0) { $0 + ("\(directory)/\($1)" == progressFile || $1.contains(".") ? 0 : loss(with: $1)) }
    }

    /// What is in a file; `nil` if that is nothing that was ever written here.
    private static func read(_ path: String, atMost limit: Int) throws(FileError) -> [UInt8]? {
        do throws(FileError) {
            return try Files.read(path, atMost: limit).bytes
        } catch {
            guard [EFBIG, EISDIR, EINVAL].contains(error.code) else { throw error }
            return nil
        }
    }

    /// Removes a report.
    func remove(_ name: String) {
        unlink("\(directory)/\(name)")
    }

    /// A whole number that is not negative.
    static func number(_ value: JSONValue, _ name: String) -> Int? {
        guard case .number(let digits) = value.value(named: name), let number = Int(digits), number >= 0 else {
            return nil
        }
        return number
    }
}
