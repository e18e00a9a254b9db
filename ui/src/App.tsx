/** The frame around every page: header, the page of the address, and the focus after a change of page. */
import { lazy, Suspense, useEffect, useRef } from "react";
import { usePath, useQuery } from "./address/address";
import { readPage } from "./address/routes";
import { ErrorBoundary } from "./components/ErrorBoundary";
import { Header } from "./components/Header";
import { Empty, Loading } from "./components/States";
import { useTitle } from "./components/useTitle";
import { SearchPage } from "./search/SearchPage";
import { TracePage } from "./trace/TracePage";

const ServicesPage = lazy(() => import("./services/ServicesPage"));
const ServicePage = lazy(() => import("./services/ServicePage"));

export function App() {
  return (
    <ErrorBoundary>
      <SkipLink />
      <Header />
      <Main />
    </ErrorBoundary>
  );
}

/** The link includes the path, because a bare fragment would resolve against the document's base. */
function SkipLink() {
  usePath();
  useQuery();
  const { pathname, search } = window.location;
  return (
    <a className="skip-link" href={`${pathname}${search}#main`}>
      Skip to content
    </a>
  );
}

function Main() {
  const path = usePath();
  const main = useRef<HTMLElement>(null);
  const shown = useRef(path);
  useEffect(() => {
    if (shown.current === path) return;
    shown.current = path;
    main.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, [path]);
  return (
    <main id="main" ref={main} tabIndex={-1}>
      <ErrorBoundary key={path}>
        <Suspense fallback={<Loading label="Loading page" />}>
          <CurrentPage />
        </Suspense>
      </ErrorBoundary>
    </main>
  );
}

function CurrentPage() {
  const path = usePath();
  const { params } = useQuery();
  const page = readPage(path, params);
  switch (page.name) {
    case "search":
      return <SearchPage />;
    case "trace":
      return <TracePage key={page.id} id={page.id} />;
    case "services":
      return <ServicesPage />;
    case "service":
      return <ServicePage key={page.service} service={page.service} />;
    case "unknown":
      return <NotFound />;
  }
}

function NotFound() {
  useTitle("Page not found");
  return (
    <Empty title="There is no such page">
      <p>The address may be misspelt. Search, Services and the trace box above lead everywhere.</p>
    </Empty>
  );
}
