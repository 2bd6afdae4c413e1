import GRDB

extension Store {
    /// Which device shows a secret.
    ///
    /// - Parameter token: the secret.
    /// - Returns: the device; `nil` if it is unknown.
    /// - Throws: what SQLite says.
    func device(showing token: OpaqueToken) async throws -> Caller? {
        try await database.read { database in
            try Row.fetchOne(
                database,
                sql: "SELECT organization, id FROM device WHERE digest = ?",
                arguments: [token.digest]
            ).map { Caller.device(organization: $0["organization"], id: $0["id"]) }
        }
    }
}
