//! The description of a service, as WCF writes it: `?wsdl` imports its types from `?xsd=xsd0`, `?singleWsdl` has them in it.

use super::contract::{AGENTS, CARRIERS, Member, OPERATIONS, Operation, Type};

/// Where one service is, and what it is.
pub(super) struct Service<'a> {
    /// One of the contract's agents.
    pub agent: &'a str,
    pub namespace: &'a str,
    /// `http://host/Cust12345/Remote/Services88/Contact.svc`
    pub address: String,
}

/// The agent of this name, however it is spelled.
pub(super) fn agent(name: &str) -> Option<&'static str> {
    AGENTS.into_iter().find(|agent| agent.eq_ignore_ascii_case(name))
}

impl Service<'_> {
    fn operations(&self) -> impl Iterator<Item = &'static Operation> {
        OPERATIONS.iter().filter(|operation| operation.agent == self.agent)
    }

    /// The types alone.
    pub(super) fn schema(&self) -> String {
        let mut out = format!(
            "<xs:schema elementFormDefault=\"qualified\" targetNamespace=\"{ns}\" xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" xmlns:tns=\"{ns}\">",
            ns = self.namespace
        );
        for operation in self.operations() {
            out.push_str(&wrapper(operation.name, &elements(operation.input)));
            let output = operation.output.map(|(name, kind)| element(name, kind)).unwrap_or_default();
            out.push_str(&wrapper(&format!("{}Response", operation.name), &output));
        }
        for carrier in CARRIERS {
            out.push_str(&format!(
                "<xs:complexType name=\"{name}\"><xs:complexContent mixed=\"false\"><xs:extension base=\"tns:Carrier\"><xs:sequence>{}\
                 </xs:sequence></xs:extension></xs:complexContent></xs:complexType>\
                 <xs:complexType name=\"ArrayOf{name}\"><xs:sequence><xs:element minOccurs=\"0\" maxOccurs=\"unbounded\" name=\"{name}\" \
                 nillable=\"true\" type=\"tns:{name}\"/></xs:sequence></xs:complexType>",
                elements(carrier.members),
                name = carrier.name
            ));
        }
        out + HEADERS + "</xs:schema>"
    }

    /// The whole; with the types in it, or imported.
    pub(super) fn definitions(&self, single: bool) -> String {
        let Service { agent, namespace, address } = self;
        let types = if single {
            self.schema()
        } else {
            format!(
                "<xs:schema targetNamespace=\"{namespace}/Imports\" xmlns:xs=\"http://www.w3.org/2001/XMLSchema\">\
                 <xs:import schemaLocation=\"{address}?xsd=xsd0\" namespace=\"{namespace}\"/></xs:schema>"
            )
        };
        let mut out = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><wsdl:definitions name=\"Wcf{agent}Service\" targetNamespace=\"{namespace}\" \
             xmlns:wsdl=\"http://schemas.xmlsoap.org/wsdl/\" xmlns:soap=\"http://schemas.xmlsoap.org/wsdl/soap/\" \
             xmlns:wsaw=\"http://www.w3.org/2006/05/addressing/wsdl\" xmlns:tns=\"{namespace}\"><wsdl:types>{types}</wsdl:types>"
        );
        let part = |name: &str, element: &str| format!("<wsdl:part name=\"{name}\" element=\"tns:{element}\"/>");
        for operation in self.operations() {
            let name = operation.name;
            let asked: String = operation.headers().iter().map(|(header, _)| part(header, header)).collect();
            let answered: String = ANSWERED.iter().map(|header| part(header, header)).collect();
            for (message, parts) in [
                ("Request", part("parameters", name)),
                ("Request_Headers", asked),
                ("Response", part("parameters", &format!("{name}Response"))),
                ("Response_Headers", answered),
            ] {
                out.push_str(&format!("<wsdl:message name=\"{name}{message}\">{parts}</wsdl:message>"));
            }
        }
        out.push_str(&format!("<wsdl:portType name=\"{agent}\">"));
        for operation in self.operations() {
            let (name, action) = (operation.name, self.action(operation));
            out.push_str(&format!(
                "<wsdl:operation name=\"{name}\"><wsdl:input wsaw:Action=\"{action}\" name=\"{name}Request\" message=\"tns:{name}Request\"/>\
                 <wsdl:output wsaw:Action=\"{action}Response\" name=\"{name}Response\" message=\"tns:{name}Response\"/></wsdl:operation>"
            ));
        }
        out.push_str(&format!(
            "</wsdl:portType><wsdl:binding name=\"BasicHttpBinding_{agent}\" type=\"tns:{agent}\">\
             <soap:binding transport=\"http://schemas.xmlsoap.org/soap/http\"/>"
        ));
        for operation in self.operations() {
            let (name, action) = (operation.name, self.action(operation));
            let headers = |message: &str, headers: &mut dyn Iterator<Item = &str>| -> String {
                headers
                    .map(|header| format!("<soap:header message=\"tns:{name}{message}_Headers\" part=\"{header}\" use=\"literal\"/>"))
                    .collect()
            };
            out.push_str(&format!(
                "<wsdl:operation name=\"{name}\"><soap:operation soapAction=\"{action}\" style=\"document\"/>\
                 <wsdl:input name=\"{name}Request\">{}<soap:body use=\"literal\"/></wsdl:input>\
                 <wsdl:output name=\"{name}Response\">{}<soap:body use=\"literal\"/></wsdl:output></wsdl:operation>",
                headers("Request", &mut operation.headers().iter().map(|(header, _)| *header)),
                headers("Response", &mut ANSWERED.into_iter())
            ));
        }
        out.push_str(&format!(
            "</wsdl:binding><wsdl:service name=\"Wcf{agent}Service\"><wsdl:port name=\"BasicHttpBinding_{agent}\" \
             binding=\"tns:BasicHttpBinding_{agent}\"><soap:address location=\"{address}\"/></wsdl:port></wsdl:service></wsdl:definitions>"
        ));
        out
    }

    /// `SOAPAction` of an operation.
    pub(super) fn action(&self, operation: &Operation) -> String {
        format!("{}/{}/{}", self.namespace, self.agent, operation.name)
    }
}

const ANSWERED: [&str; 4] = ["ExceptionInfo", "ExtraInfo", "Succeeded", "TimeZone"];

fn wrapper(name: &str, elements: &str) -> String {
    format!("<xs:element name=\"{name}\"><xs:complexType><xs:sequence>{elements}</xs:sequence></xs:complexType></xs:element>")
}

fn elements(members: &[Member]) -> String {
    members.iter().map(|(name, kind, _)| element(name, *kind)).collect()
}

fn element(name: &str, kind: Type) -> String {
    let (kind, nillable) = match kind {
        Type::Int => ("xs:int".to_owned(), false),
        Type::Short => ("xs:short".to_owned(), false),
        Type::Bool => ("xs:boolean".to_owned(), false),
        Type::Time => ("xs:dateTime".to_owned(), false),
        Type::Text => ("xs:string".to_owned(), true),
        Type::Base64 => ("xs:base64Binary".to_owned(), true),
        Type::Of(of) => (format!("tns:{of}"), true),
        Type::List(of) => (format!("tns:ArrayOf{of}"), true),
    };
    let nillable = if nillable { " nillable=\"true\"" } else { "" };
    format!("<xs:element minOccurs=\"0\" name=\"{name}\"{nillable} type=\"{kind}\"/>")
}

/// The types of headers, and what all carriers begin with (its own members are left out).
const HEADERS: &str = include_str!("headers.xsd");
