public import RegistryAccess

/// Something that `docker ram doctor` found wrong, when root ran it the last time; docker-ramd, which sees less of the
/// machine, tells the organization.
public struct DoctorFinding: Hashable, Sendable {
    /// The id of the check.
    public let check: String
    /// `warning` or `error`.
    public let status: String
    /// What is wrong.
    public let detail: String

    /// How many are kept, and how much of the detail: a report to the server has room for that.
    private static let most = (findings: 64, bytes: 400)

    /// A finding.
    ///
    /// - Parameters:
    ///   - check: the id of the check.
    ///   - status: `warning` or `error`.
    ///   - detail: what is wrong.
    public init(check: String, status: String, detail: String) {
        self.check = check
        self.status = status
        self.detail = detail
    }

    /// The finding in a report.
    public var json: JSONValue {
        .object([
            JSONMember("check", .string(check)), JSONMember("status", .string(status)),
            JSONMember("detail", .string(detail)),
        ])
    }

    /// Writes what was found in place of what was found before.
    ///
    /// - Parameters:
    ///   - findings: all that is wrong.
    ///   - paths: where everything is.
    /// - Throws: ``FileError``.
    public static func write(_ findings: [DoctorFinding], _ paths: InstallationPaths) throws(FileError) {
        let kept = findings.prefix(most.findings).map { finding in
            var detail = finding.detail
            while detail.utf8.count > most.bytes { detail.removeLast() }
            return DoctorFinding(check: finding.check, status: finding.status, detail: detail).json
        }
        let file = JSONValue.object([JSONMember("findings", .array(kept))]).text(indentation: "  ") + "\n"
        try Files.replace(paths.doctorFindings, with: Array(file.utf8), mode: 0o644)
    }

    /// What was found the last time.
    ///
    /// - Parameter paths: where everything is.
    /// - Returns: the findings; none if there is no such file, or one that root has not written.
    public static func read(_ paths: InstallationPaths) -> [DoctorFinding] {
        guard let file = try? Files.read(paths.doctorFindings, atMost: 64 << 10),
            TrustedFile.owners(under: paths).contains(file.status.owner), !file.status.isWritableByOthers,
            let value = try? StrictJSON.parse(file.bytes, limits: StrictJSON.Limits(bytes: 64 << 10, depth: 4))
        else { return [] }
        return (value.value(named: "findings")?.elements ?? []).prefix(most.findings).compactMap { element in
            guard let check = element.value(named: "check")?.text, let status = element.value(named: "status")?.text,
                let detail = element.value(named: "detail")?.text, detail.utf8.count <= most.bytes
            else { return nil }
            return DoctorFinding(check: check, status: status, detail: detail)
        }
    }
}
