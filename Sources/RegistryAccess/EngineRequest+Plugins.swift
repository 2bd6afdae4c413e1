/// Managed plugins, which are images with root's powers (moby, `daemon/server/router/plugin`).
extension EngineRequest {
    /// `GET /plugins/privileges`: the engine asks the registry what a plugin wants.
    func readPluginPrivileges(_ query: ArraySlice<UInt8>) throws(Obstacle) -> Reading {
        .accesses([RegistryContact(.pull, try Self.remotePlugin(QueryParameters(query)))])
    }

    /// `POST /plugins/pull`: under the name `name` if there is one, else under its own.
    func readPluginPull(_ query: ArraySlice<UInt8>, _ ownPluginName: String) throws(Obstacle) -> Reading {
        try refuseHiddenForm()
        let parameters = try QueryParameters(query)
        let remote = try Self.remotePlugin(parameters)
        let alias = try parameters.text("name")
        let name = alias.isEmpty ? remote : try ImageReference(inRequest: alias)
        if Self.names(name, ownPluginName) { return .ownPlugin }
        return .accesses([RegistryContact(.pull, remote)])
    }

    /// `POST /plugins/{name}/upgrade`.
    func readPluginUpgrade(
        _ query: ArraySlice<UInt8>,
        name: String,
        _ ownPluginName: String
    ) throws(Obstacle) -> Reading {
        try refuseHiddenForm()
        let remote = try Self.remotePlugin(QueryParameters(query))
        if Self.names(name, ownPluginName) { return .ownPlugin }
        return .accesses([RegistryContact(.pull, remote)])
    }

    /// `POST /plugins/{name}/push`.
    ///
    /// The engine also takes the beginning of a plugin's identifier for its name, and pushes to where that plugin's
    /// real name says (moby, `daemon/pkg/plugin/store.go`, `resolvePluginID`).
    func readPluginPush(_ name: String) throws(Obstacle) -> Reading {
        try refuseForm()
        let mayBeIdentifier = name.utf8.allSatisfy { ASCII.hexValue($0) != nil && !ASCII.isUppercase($0) }
        guard !mayBeIdentifier else { throw .pluginIdentifier }
        return .accesses([RegistryContact(.push, try ImageReference(inRequest: name))])
    }

    /// `POST /plugins/create`: from a local directory, sent as an archive.
    func readPluginCreation(_ query: ArraySlice<UInt8>, _ ownPluginName: String) throws(Obstacle) -> Reading {
        try refuseForm()
        let name = try QueryParameters(query).text("name")
        guard !name.isEmpty else { throw .nothingNamed }
        return Self.names(try ImageReference(inRequest: name), ownPluginName) ? .ownPlugin : .nothing
    }

    /// Switching on and off, settings, removal: of a plugin that is there, by name or by a part of its identifier.
    func readPluginChange(name: String, _ ownPluginName: String) -> Reading {
        Self.names(name, ownPluginName) ? .ownPlugin : .nothing
    }

    private static func remotePlugin(_ parameters: QueryParameters) throws(Obstacle) -> ImageReference {
        let remote = try parameters.text("remote")
        guard !remote.isEmpty else { throw .nothingNamed }
        return try ImageReference(inRequest: remote)
    }

    /// Whether a name is one of the plugin's, with any tag; what is no image name is no plugin's name either.
    static func names(_ name: String, _ ownPluginName: String) -> Bool {
        guard let image = try? ImageReference(name) else { return false }
        return names(image, ownPluginName)
    }

    static func names(_ image: ImageReference, _ ownPluginName: String) -> Bool {
        guard let own = try? ImageReference(ownPluginName) else { return false }
        return image.registry == own.registry && image.repository == own.repository
    }
}
