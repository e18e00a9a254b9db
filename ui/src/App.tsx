/** The frame around every page: header, routes, and where the focus goes when the page changes. */
import { lazy, Suspense, useEffect, useRef } from "react";
import { Route, Router, Switch, useLocation, useSearch } from "wouter";
import { Header } from "./components/Header";
import { Empty, Loading } from "./components/States";
import { useTitle } from "./components/useTitle";
import { SearchPage } from "./search/SearchPage";
import { TracePage } from "./trace/TracePage";

const ServicesPage = lazy(() => import("./services/ServicesPage"));
const ServicePage = lazy(() => import("./services/ServicePage"));

export function App({ base }: { base: string }) {
  return (
    <Router base={base}>
      <SkipLink />
      <Header />
      <Main />
    </Router>
  );
}

/** Written with its path, because a bare fragment would resolve against the document's base. */
function SkipLink() {
  useLocation();
  useSearch();
  const { pathname, search } = window.location;
  return (
    <a className="skip-link" href={`${pathname}${search}#main`}>
      Skip to content
    </a>
  );
}

function Main() {
  const [location] = useLocation();
  const main = useRef<HTMLElement>(null);
  const shown = useRef(location);
  useEffect(() => {
    if (shown.current === location) return;
    shown.current = location;
    main.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, [location]);
  return (
    <main id="main" ref={main} tabIndex={-1}>
      <Suspense fallback={<Loading label="Loading page" />}>
        <Switch>
          <Route path="/">
            <SearchPage />
          </Route>
          <Route path="/trace/:id">{({ id }) => <TracePage key={id} id={id} />}</Route>
          <Route path="/services">
            <ServicesPage />
          </Route>
          <Route path="/services/:service">
            {({ service }) => <ServicePage key={service} service={decodeURIComponent(service)} />}
          </Route>
          <Route>
            <NotFound />
          </Route>
        </Switch>
      </Suspense>
    </main>
  );
}

function NotFound() {
  useTitle("Page not found");
  return (
    <Empty title="There is no such page">
      <p>The address may be misspelt. Search, Services and the trace box above lead everywhere.</p>
    </Empty>
  );
}
