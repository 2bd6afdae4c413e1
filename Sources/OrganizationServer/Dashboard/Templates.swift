import Mustache
import SignedPolicy

/// What pages are made of: templates, the style sheet and scripts, all of them part of the program.
enum DashboardFiles {
    /// The templates by their names.
    private static let templates: MustacheLibrary = {
        MustacheContentTypes.register(PageContentType(), named: PageContentType.name)
        let texts: [(name: String, bytes: [UInt8])] = [
            ("account", PackageResources.account_mustache),
            ("activation", PackageResources.activation_mustache),
            ("activation-question", PackageResources.activation_question_mustache),
            ("activity", PackageResources.activity_mustache),
            ("activity-lines", PackageResources.activity_lines_mustache),
            ("activity-news", PackageResources.activity_news_mustache),
            ("confirmation", PackageResources.confirmation_mustache),
            ("device", PackageResources.device_mustache),
            ("device-name", PackageResources.device_name_mustache),
            ("devices", PackageResources.devices_mustache),
            ("difference", PackageResources.difference_mustache),
            ("difference-lines", PackageResources.difference_lines_mustache),
            ("enrollment", PackageResources.enrollment_mustache),
            ("entrance", PackageResources.entrance_mustache),
            ("entrance-end", PackageResources.entrance_end_mustache),
            ("history", PackageResources.history_mustache),
            ("introduction", PackageResources.introduction_mustache),
            ("invitations", PackageResources.invitations_mustache),
            ("join", PackageResources.join_mustache),
            ("keys", PackageResources.keys_mustache),
            ("layout", PackageResources.layout_mustache),
            ("link", PackageResources.link_mustache),
            ("machines-settings", PackageResources.machines_settings_mustache),
            ("mark", PackageResources.mark_mustache),
            ("member", PackageResources.member_mustache),
            ("members", PackageResources.members_mustache),
            ("message", PackageResources.message_mustache),
            ("missing", PackageResources.missing_mustache),
            ("new-password", PackageResources.new_password_mustache),
            ("organization-settings", PackageResources.organization_settings_mustache),
            ("organizations", PackageResources.organizations_mustache),
            ("overview", PackageResources.overview_mustache),
            ("paging", PackageResources.paging_mustache),
            ("password", PackageResources.password_mustache),
            ("people-tabs", PackageResources.people_tabs_mustache),
            ("registries", PackageResources.registries_mustache),
            ("registry", PackageResources.registry_mustache),
            ("registry-cells", PackageResources.registry_cells_mustache),
            ("request", PackageResources.request_mustache),
            ("requests", PackageResources.requests_mustache),
            ("review", PackageResources.review_mustache),
            ("root", PackageResources.root_mustache),
            ("secret", PackageResources.secret_mustache),
            ("session-end", PackageResources.session_end_mustache),
            ("session-table", PackageResources.session_table_mustache),
            ("sessions", PackageResources.sessions_mustache),
            ("set-up", PackageResources.set_up_mustache),
            ("settings", PackageResources.settings_mustache),
            ("settings-tabs", PackageResources.settings_tabs_mustache),
            ("sign-in", PackageResources.sign_in_mustache),
            ("single-sign-on", PackageResources.single_sign_on_mustache),
            ("standing-warnings", PackageResources.standing_warnings_mustache),
            ("tabs", PackageResources.tabs_mustache),
            ("team", PackageResources.team_mustache),
            ("team-registry-remove", PackageResources.team_registry_remove_mustache),
            ("teams", PackageResources.teams_mustache),
            ("times", PackageResources.times_mustache),
            ("tokens", PackageResources.tokens_mustache),
            ("version", PackageResources.version_mustache),
        ]
        do {
            var library = MustacheLibrary()
            for (name, bytes) in texts {
                // Each partial begins again with the library's own way to escape.
                let text = "{{% CONTENT_TYPE:\(PageContentType.name)}}" + String(decoding: bytes, as: UTF8.self)
                try library.register(text, named: name)
            }
            return library
        } catch {
            preconditionFailure("the embedded templates: \(error)")
        }
    }()

    /// Reads the templates, which takes longer than a page: better now than while somebody waits for the first.
    static func prepare() { _ = templates }

    /// A page.
    ///
    /// - Parameters:
    ///   - template: the name of its template.
    ///   - content: what the template names.
    /// - Returns: its HTML.
    static func html(_ template: String, _ content: [String: Any]) -> String {
        templates.render(content, withTemplate: template) ?? ""
    }

    /// A page before the dashboard: for whoever signs a machine in, or comes back from a provider.
    ///
    /// - Parameters:
    ///   - template: the name of its template, which stands in `entrance`.
    ///   - title: what it is called.
    ///   - server: where it is.
    ///   - content: what the template names besides.
    /// - Returns: its HTML.
    static func entrance(_ template: String, _ title: String, at server: PublicAddress, _ content: [String: Any])
        -> String
    {
        var content = content
        content["title"] = title
        content["server"] = server.description
        content["style"] = style.address
        content["script"] = script.address
        content["icon"] = icon.address
        return html(template, content)
    }

    /// A file that pages name.
    struct Asset: Sendable {
        let mediaType: String
        let bytes: [UInt8]
        /// Where it is; another content has another address.
        let address: String

        fileprivate init(_ name: String, _ suffix: String, _ mediaType: String, _ bytes: [UInt8]) {
            self.mediaType = mediaType
            self.bytes = bytes
            address = "/assets/\(name).\(Hexadecimal.sha256(bytes).prefix(16)).\(suffix)"
        }
    }

    static let style = Asset("style", "css", "text/css; charset=utf-8", PackageResources.style_css)
    static let script = Asset("page", "js", "text/javascript; charset=utf-8", PackageResources.page_js)
    static let icon = Asset("icon", "svg", "image/svg+xml", PackageResources.icon_svg)

    /// All of them by their addresses.
    static let assets = Dictionary(
        [style, script, icon].map { ($0.address, $0) },
        uniquingKeysWith: { first, _ in first }
    )
}

/// How texts get into pages.
///
/// The library goes by Swift's characters, and takes a quotation mark with an accent for something else than one; browsers
/// do not.
private struct PageContentType: MustacheContentType {
    static let name = "PAGE"

    func escapeText(_ text: String) -> String { HTMLText.escaped(text) }
}
