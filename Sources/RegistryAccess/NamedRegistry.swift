/// What somebody names who asks for a registry: one, as refusals do, or an image that is there.
///
/// A name with a dot or a colon, and no slash, is a registry if it can be one, as is `localhost`; anything else is an image.
package struct NamedRegistry: Hashable, Sendable {
    package let address: RegistryAddress
    /// The image; `nil` if the registry itself is named.
    package let image: ImageReference?

    /// Reads a name.
    ///
    /// - Parameter text: for example `ghcr.io`, `alpine` or `ghcr.io/acme/api:1.2`.
    /// - Throws: ``InvalidImageReference`` if it is neither.
    package init(_ text: String) throws(InvalidImageReference) {
        let isRegistry =
            !text.utf8.contains(ASCII.slash)
            && (text.utf8.contains { $0 == ASCII.dot || $0 == ASCII.colon } || text == "localhost")
        if isRegistry, let address = try? RegistryAddress(text) {
            (self.address, image) = (address, nil)
        } else {
            let image = try ImageReference(text)
            (address, self.image) = (image.registry, image)
        }
    }
}
