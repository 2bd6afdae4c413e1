import GRDB
import RegistryAccess

extension KeptActivity {
    /// The id of the device that did it itself; `nil`: a person did it, or the server.
    var actingDevice: String? { actor.hasPrefix("device:") ? String(actor.dropFirst("device:".count)) : nil }

    /// What may be the ids of devices that it names.
    var possibleDevices: [String] { [actingDevice, name, data.value(named: "device")?.text].compactMap(\.self) }
}

extension Store {
    /// What a device is called, or was.
    struct DeviceName: Hashable, Sendable {
        let name: String
        /// Whether it has not been taken out.
        let isThere: Bool
    }

    /// What devices are called; those that were taken out, by what the activity says.
    ///
    /// - Parameters:
    ///   - ids: which; one that is none is left out.
    ///   - organization: where.
    /// - Returns: the names by the ids.
    /// - Throws: what SQLite says.
    func deviceNames(of ids: Set<String>, in organization: String) async throws -> [String: DeviceName] {
        guard !ids.isEmpty else { return [:] }
        let arguments: StatementArguments = [
            "organization": organization, "ids": JSONValue.texts(ids.sorted()).text(),
        ]
        return try await database.read { database in
            let there = try Row.fetchAll(
                database,
                sql: """
                    SELECT id, name FROM device
                    WHERE organization = :organization AND id IN (SELECT value FROM json_each(:ids))
                    """,
                arguments: arguments
            )
            let once = try Row.fetchAll(
                database,
                sql: """
                    SELECT name AS id, json_extract(data, '$.device_name') AS name FROM activity
                    WHERE organization = :organization AND name IN (SELECT value FROM json_each(:ids))
                        AND \(Self.tellsDeviceName)
                    """,
                arguments: arguments
            )
            func names(_ rows: [Row], isThere: Bool) -> [(String, DeviceName)] {
                rows.map { ($0["id"], DeviceName(name: $0["name"], isThere: isThere)) }
            }
            return Dictionary(
                names(there, isThere: true) + names(once, isThere: false),
                uniquingKeysWith: { first, _ in first }
            )
        }
    }

    /// The devices that somebody means by a name.
    ///
    /// - Parameters:
    ///   - text: an id, a name or the beginning of names, in capital or small letters.
    ///   - organization: where.
    /// - Returns: the ids of the device with this id, else of those that are called so, else of those whose name begins so,
    ///   those that were taken out too; if there is none, the text itself.
    /// - Throws: what SQLite says.
    func devices(called text: String, in organization: String) async throws -> [String] {
        let arguments: StatementArguments = [
            "organization": organization, "text": text, "lower": text.lowercased(),
        ]
        return try await database.read { database in
            let isThere = try Bool.fetchOne(
                database,
                sql: "SELECT EXISTS (SELECT 1 FROM device WHERE organization = ? AND id = ?)",
                arguments: [organization, text]
            )
            if isThere == true { return [text] }
            let beginning = try Row.fetchAll(
                database,
                sql: """
                    SELECT id, swiftLowercaseString(name) = :lower AS isWhole FROM device
                    WHERE organization = :organization AND instr(swiftLowercaseString(name), :lower) = 1
                    UNION
                    SELECT name, swiftLowercaseString(json_extract(data, '$.device_name')) = :lower FROM activity
                    WHERE organization = :organization AND action = 'device.remove'
                        AND instr(swiftLowercaseString(json_extract(data, '$.device_name')), :lower) = 1
                    """,
                arguments: arguments
            )
            let whole = beginning.filter { $0["isWhole"] as Bool? ?? false }
            let found = (whole.isEmpty ? beginning : whole).map { $0["id"] as String }
            return found.isEmpty ? [text] : found
        }
    }

    /// Lines of the activity that say what a device is called.
    private static let tellsDeviceName = """
        action IN ('device.add', 'device.remove') AND json_extract(data, '$.device_name') IS NOT NULL
        """

    /// Names that have an index.
    enum NameList: Sendable {
        /// Who did something.
        case actors
        /// To what something was done.
        case names
        /// What machines refused.
        case registries

        /// So many are enough to choose from.
        static let most = 5

        fileprivate var column: (table: String, name: String) {
            switch self {
            case .actors: ("activity", "actor")
            case .names: ("activity", "name")
            case .registries: ("refusal", "registry")
            }
        }
    }

    /// The first names that begin with a text.
    ///
    /// - Parameters:
    ///   - list: where to look.
    ///   - organization: whose.
    ///   - text: how they begin.
    /// - Returns: at most ``NameList/most``; devices are left out.
    /// - Throws: what SQLite says.
    func names(in list: NameList, of organization: String, beginningWith text: String) async throws -> [String] {
        let (table, column) = list.column
        return try await database.read { database in
            // One step in the index for each name, however often it is there.
            let sql = """
                SELECT min(\(column)) FROM \(table) WHERE organization = ? AND \(column) > ?
                """
            var names: [String] = []
            var last = text
            if try Bool.fetchOne(
                database,
                sql: "SELECT EXISTS (SELECT 1 FROM \(table) WHERE organization = ? AND \(column) = ?)",
                arguments: [organization, text]
            ) == true {
                names.append(text)
            }
            while names.count < NameList.most,
                let next = try String.fetchOne(database, sql: sql, arguments: [organization, last]),
                next.hasPrefix(text), !next.hasPrefix("device:")
            {
                names.append(next)
                last = next
            }
            return names
        }
    }
}
