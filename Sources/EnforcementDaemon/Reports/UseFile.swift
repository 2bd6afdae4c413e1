import LocalInstallation
import RegistryAccess

/// The file that holds which registries were used, until the organization's server knows.
struct UseFile: Sendable {
    /// What it holds.
    struct Content: Hashable, Sendable {
        /// Whose it is.
        let organization: String
        /// As which device the machine has told it.
        var device: String?
        /// What the server knows, of days that are not over.
        var told: Set<RegistryUse> = []
        /// What it does not know yet.
        var untold: Set<RegistryUse> = []
    }

    private static let longest = 1 << 20
    private let files: OrganizationFiles

    init(_ paths: InstallationPaths) {
        files = OrganizationFiles(paths)
    }

    /// What there is; `nil` if there is nothing yet, or nothing that could be used.
    func content() -> Content? {
        guard let bytes = try? files.read(.uses),
            let value = try? StrictJSON.parse(bytes, limits: StrictJSON.Limits(bytes: Self.longest, depth: 4)),
            let organization = value.value(named: "organization")?.text,
            let told = Self.uses(value.value(named: "told")), let untold = Self.uses(value.value(named: "untold"))
        else { return nil }
        let device = value.value(named: "device")?.text
        return Content(organization: organization, device: device, told: told, untold: untold)
    }

    /// Writes it anew.
    func write(_ content: Content) throws(FileError) {
        func list(_ uses: Set<RegistryUse>) -> JSONValue { .array(uses.sorted(by: Self.order).map(\.json)) }
        let value = JSONValue.object([
            JSONMember("organization", .string(content.organization)), JSONMember("device", .text(content.device)),
            JSONMember("told", list(content.told)), JSONMember("untold", list(content.untold)),
        ])
        try files.prepare()
        try files.write(value.text(), .uses)
    }

    private static func uses(_ value: JSONValue?) -> Set<RegistryUse>? {
        guard let elements = value?.elements else { return nil }
        var uses: Set<RegistryUse> = []
        for element in elements {
            guard let day = element.value(named: "day")?.text, let registry = element.value(named: "registry")?.text
            else { return nil }
            let action = element.value(named: "action")?.text
            uses.insert(RegistryUse(day: day, registry: registry, action: action.flatMap(RegistryAction.init)))
        }
        return uses
    }

    /// The oldest first.
    static func order(_ left: RegistryUse, _ right: RegistryUse) -> Bool {
        (left.day, left.registry, left.action?.rawValue ?? "")
            < (right.day, right.registry, right.action?.rawValue ?? "")
    }
}
