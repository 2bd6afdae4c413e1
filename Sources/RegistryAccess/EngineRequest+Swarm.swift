/// Services and membership of a swarm (moby, `daemon/server/router/swarm`, `daemon/cluster`).
///
/// The nodes of a swarm pull what its services name. What a manager elsewhere makes this node pull is not seen here;
/// therefore joining a swarm counts as a pull from each manager that is named.
extension EngineRequest {
    /// `POST /services/create`.
    func readService(_ ownPluginName: String) throws(Obstacle) -> Reading {
        let service = try jsonBody()
        guard service.members != nil else { throw .unreadableBody }
        guard let task = try service.requestObject("TaskTemplate") else { throw .nothingNamed }
        var contacts: [RegistryContact] = []

        if let container = try task.requestObject("ContainerSpec") {
            let image = try container.requestText("Image")
            if !image.isEmpty { contacts.append(RegistryContact(.pull, try ImageReference(inRequest: image))) }
            for mount in try container.requestList("Mounts") where mount != .null {
                guard mount.members != nil else { throw .unreadableBody }
                guard try mount.requestText("Type") == "image" else { continue }
                let source = try ImageReference(inRequest: mount.requestText("Source"))
                contacts.append(RegistryContact(.pull, source))
            }
        }
        if let plugin = try task.requestObject("PluginSpec") {
            let remote = try plugin.requestText("remote")
            let name = try plugin.requestText("name")
            if Self.names(name.isEmpty ? remote : name, ownPluginName) { return .ownPlugin }
            if !remote.isEmpty { contacts.append(RegistryContact(.pull, try ImageReference(inRequest: remote))) }
        }
        guard !contacts.isEmpty else { throw .nothingNamed }
        return .accesses(contacts)
    }

    /// `POST /services/{id}/update`: the whole service again, or the order to go back to the one before.
    func readServiceUpdate(_ query: ArraySlice<UInt8>, _ ownPluginName: String) throws(Obstacle) -> Reading {
        let rollback = try QueryParameters(query).text("rollback")
        // "none" is what Docker calls no rollback (moby, daemon/cluster/services.go).
        guard rollback.isEmpty || rollback == "none" else { throw .rollback }
        return try readService(ownPluginName)
    }

    /// `POST /swarm/join`.
    func readSwarmJoin() throws(Obstacle) -> Reading {
        let join = try jsonBody()
        guard join.members != nil else { throw .unreadableBody }
        var contacts: [RegistryContact] = []
        for element in try join.requestList("RemoteAddrs") {
            guard let text = element.text else { throw .unreadableBody }
            contacts.append(RegistryContact(.pull, try Self.managerAddress(text)))
        }
        guard !contacts.isEmpty else { throw .nothingNamed }
        return .accesses(contacts)
    }

    /// `host[:port]` or `tcp://host[:port]`; the port of a manager is 2377 (moby, `opts.ParseTCPAddr`).
    private static func managerAddress(_ text: String) throws(Obstacle) -> RegistryAddress {
        let bytes = Array(text.utf8)
        let address = bytes.starts(with: "tcp://".utf8) ? bytes[6...] : bytes[...]
        return try RegistryAddress(inRequest: String(decoding: address, as: UTF8.self), defaultPort: 2377)
    }
}

extension RegistryAddress {
    /// Reads an address of a service whose port, when none is written, is not 443.
    init(inRequest text: String, defaultPort: UInt16) throws(Obstacle) {
        let bytes = Array(text.utf8)
        let host = bytes.lastIndex(of: ASCII.rightBracket).map { bytes[$0...] } ?? bytes[...]
        self = try RegistryAddress(inRequest: host.contains(ASCII.colon) ? text : "\(text):\(defaultPort)")
    }
}

/// What Go's `encoding/json` puts into the fields of a struct: names folded, `null` the same as nothing.
extension JSONValue {
    func requestValue(_ name: String) -> JSONValue? {
        let value = value(foldedName: name)
        return value == .null ? nil : value
    }

    /// A text; empty if it is not there.
    func requestText(_ name: String) throws(Obstacle) -> String {
        guard let value = requestValue(name) else { return "" }
        guard let text = value.text else { throw .unreadableBody }
        return text
    }

    /// A list; empty if it is not there.
    func requestList(_ name: String) throws(Obstacle) -> [JSONValue] {
        guard let value = requestValue(name) else { return [] }
        guard let elements = value.elements else { throw .unreadableBody }
        return elements
    }

    func requestObject(_ name: String) throws(Obstacle) -> JSONValue? {
        guard let value = requestValue(name) else { return nil }
        guard value.members != nil else { throw .unreadableBody }
        return value
    }
}
