/// Containers that run BuildKit (moby, `daemon/server/router/container/container_routes.go`).
///
/// Making a container touches no registry. But a BuildKit in a container pulls what it builds with without asking the
/// engine, and its traffic is not the engine's, so that neither the plugin nor the egress proxy sees it, unless it was
/// made to go through the proxy.
extension EngineRequest {
    /// `POST /containers/create`.
    func readContainerCreation(_ query: ArraySlice<UInt8>) throws(Obstacle) -> Reading {
        guard looksForBuilders else { return .nothing }
        let name = try QueryParameters(query).text("name")
        // Labels, volumes and driver options are maps, of which Go folds no keys; the structs are checked below.
        let container = try jsonBody(foldsKeys: false)
        try container.checkFieldNames()
        let host = try container.requestObject("HostConfig")
        try host?.checkFieldNames()

        let image = try container.requestText("Image")
        let command = try container.requestWords("Entrypoint") + container.requestWords("Cmd")
        // Engines up to 20.10 read what stands in HostConfig beside it too, as clients before 1.15 wrote it.
        let places = [container, host].compactMap(\.self)
        var directories: [String] = []
        for place in places {
            for bind in try place.requestTexts("Binds") {
                let parts = bind.utf8.split(separator: ASCII.colon, omittingEmptySubsequences: false)
                if parts.count > 1 { directories.append(String(Substring(parts[1]))) }
            }
            for mount in try place.requestList("Mounts") where mount != .null {
                guard mount.members != nil else { throw .unreadableBody }
                try mount.checkFieldNames()
                directories.append(try mount.requestText("Target"))
            }
        }
        directories += try container.requestObject("Volumes")?.members?.map(\.name) ?? []

        guard
            Self.isBuilderName(name) || Self.contains(image, "buildkit") || command.contains(where: Self.runsBuildKit)
                || directories.contains(where: Self.isBuildKitState)
        else { return .nothing }
        return .builder(
            BuilderContainer(
                subject: image.isEmpty ? name : image,
                environment: try container.requestTexts("Env"),
                networkMode: try host?.requestText("NetworkMode") ?? "",
                // An empty list is not the same as none: it takes the image's own away (moby, `daemon/commit.go`).
                keepsEntrypoint: container.requestValue("Entrypoint") == nil
            )
        )
    }

    /// `POST /containers/{name}/rename`: buildx finds a builder by its container's name, and renames none itself.
    func readContainerRenaming(_ query: ArraySlice<UInt8>) throws(Obstacle) -> Reading {
        guard looksForBuilders else { return .nothing }
        try refuseHiddenForm()
        let name = try QueryParameters(query).text("name")
        guard Self.isBuilderName(name) else { return .nothing }
        return .builder(BuilderContainer(subject: name, environment: [], networkMode: "", keepsEntrypoint: false))
    }

    /// The name that buildx's driver gives to the container of a builder; Docker drops a slash before it.
    private static func isBuilderName(_ name: String) -> Bool {
        name.utf8.drop { $0 == ASCII.slash }.starts(with: "buildx_buildkit_".utf8)
    }

    /// Whether a word of a command names a program of BuildKit's that builds, its configuration, or an option that only
    /// these programs have.
    private static func runsBuildKit(_ word: String) -> Bool {
        contains(word, "buildkitd") || contains(word, "buildctl-daemonless") || contains(word, "oci-worker")
            || contains(word, "containerd-worker") || contains(word, "allow-insecure-entitlement")
    }

    /// Whether BuildKit keeps its state in a directory: `/var/lib/buildkit`, or below the home of another user than root
    /// `.local/share/buildkit`.
    private static func isBuildKitState(_ directory: String) -> Bool {
        let components = directory.utf8.split(separator: ASCII.slash).filter { !$0.elementsEqual(".".utf8) }
        return zip(components, components.dropFirst()).contains { parent, name in
            name.elementsEqual("buildkit".utf8)
                && (parent.elementsEqual("lib".utf8) || parent.elementsEqual("share".utf8))
        }
    }

    private static func contains(_ text: String, _ part: String) -> Bool {
        text.utf8.map(ASCII.lowercased).contains(Array(part.utf8))
    }
}

extension JSONValue {
    /// Refuses an object that Go would read into a struct if two of its names are the same field.
    fileprivate func checkFieldNames() throws(Obstacle) {
        guard let members else { throw .unreadableBody }
        guard Set(members.map { GoFolding.fold($0.name) }).count == members.count else { throw .unreadableBody }
    }

    /// A list of texts; empty if it is not there.
    ///
    /// Go reads `null` in it as the empty text, which says nothing here.
    fileprivate func requestTexts(_ name: String) throws(Obstacle) -> [String] {
        var texts: [String] = []
        for element in try requestList(name) where element != .null {
            guard let text = element.text else { throw .unreadableBody }
            texts.append(text)
        }
        return texts
    }

    /// The words of a command, which may come as one text.
    fileprivate func requestWords(_ name: String) throws(Obstacle) -> [String] {
        if let word = requestValue(name)?.text { return [word] }
        return try requestTexts(name)
    }
}
